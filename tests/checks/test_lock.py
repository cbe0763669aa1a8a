"""lock/ipvs-conn-table, lock/ipvs-scheduler, lock/ipvs-sync and lock/qdisc-root."""

import dataclasses

import pytest

from dirtune.analyse.probed import LockWaits, LockWindow, SoftirqTime, SoftirqWindow
from dirtune.checks import Risk, Severity, Status, run
from dirtune.checks.lock.ipvs_conn_table import ipvs_conn_table
from dirtune.checks.lock.ipvs_scheduler import ipvs_scheduler
from dirtune.checks.lock.ipvs_sync import ipvs_sync
from dirtune.checks.lock.qdisc_root import qdisc_root
from dirtune.collect.ip_vs import Stats
from dirtune.collect.ipvs_netlink import Ipvs, SyncDaemon
from dirtune.collect.net import Interface, Queue
from dirtune.collect.rulesets import Rulesets
from tests.checks.machines import detailed, director, program, service

TABLE = "__ip_vs_conntbl_lock_array"
SCHED, SYNC, QDISC = "svc->sched_lock", "ipvs->sync_buff_lock", "qdisc root lock"
CHECKS = (ipvs_conn_table, ipvs_scheduler, ipvs_sync, qdisc_root)
SECOND_NS = 1_000_000_000


def waits(lock, caller, ms, *, waits=1000, most_us=90):
    return LockWaits(lock, "spinlock", caller, (caller,), waits, ms * 10**6, most_us * 1000)


def probed(*locks, seconds=5.0, softirq_s=1.0, softirq_seconds=None):
    """Windows of both probes: NET_RX took 4/5 and TIMER 1/5 of *softirq_s* on two CPUs."""
    parts = (("NET_RX", 0, 0.5), ("NET_RX", 1, 0.3), ("TIMER", 0, 0.2))
    times = tuple(
        SoftirqTime(vector, cpu, 1, int(softirq_s * part * SECOND_NS), 0, 0, 0, 0)
        for vector, cpu, part in parts
    )
    window = SoftirqWindow(seconds if softirq_seconds is None else softirq_seconds, times, (), {})
    return {"locks": LockWindow(seconds, locks), "softirq_window": window}


def at_rate(connections=0, packets=0):
    """IPVS counters 10 s apart."""
    return {
        "ip_vs_stats": Stats(10 * connections, 10 * packets, 0, 0, 0),
        "earlier": {"ip_vs_stats": Stats(0, 0, 0, 0, 0)},
    }


def judged(check, *services, **fields):
    return run((check,), director(*(services or (service(1, 1),)), **fields))[0]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_skipped_without_a_probe(check):
    fields = {"rulesets": Rulesets((), (), (), ()), "interfaces": ()}

    for measured in ({}, {"locks": LockWindow(5.0, ())}):
        found = judged(check, **fields, **measured)
        assert (found.status, found.reason) == (Status.SKIPPED, "not probed: --probe measures it")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_quiet_where_nobody_waits_and_open_where_no_softirq_ran(check):
    fields = {"rulesets": Rulesets((), (), (), ()), "interfaces": ()}
    others = waits("rtnl_mutex", "rtnl_lock", 900)
    every = (waits(TABLE, "ip_vs_conn_new", 9), waits(SCHED, "ip_vs_rr_schedule", 9),
             waits(SYNC, "ip_vs_sync_conn", 9), waits(QDISC, "__dev_queue_xmit", 9))  # fmt: skip

    assert judged(check, **fields, **probed(others)).status is Status.PASSED
    idle = judged(check, **fields, **probed(*every, softirq_s=0))
    assert (idle.status, idle.reason) == (Status.INCONCLUSIVE, "no softirq time in the window")


def table(ms, connections=20_000, **more):
    locks = (
        waits(TABLE, "ip_vs_conn_new", ms - 10, waits=300, most_us=50),
        waits(TABLE, "ip_vs_conn_expire", 10, waits=100, most_us=70),
    )
    return judged(ipvs_conn_table, **probed(*locks, **more), **at_rate(connections))


def test_the_table_of_connections():
    (found,) = table(50).findings

    assert found.severity is Severity.HIGH
    assert found.message == (
        "400 waits of 125.0 us in ip_vs_conn_new, ip_vs_conn_expire: 5.0 % of softirq time, "
        "at 20,000 new connections/s"
    )
    assert found.evidence["max_wait_ns"] == 70_000
    assert found.evidence["percent_of_softirq_time"] == 5.0
    assert table(49).status is Status.PASSED


def test_few_new_connections_leave_the_table_open():
    found = table(500, connections=19_999)

    assert found.status is Status.INCONCLUSIVE
    assert "at 19,999 new connections/s; judged from 20,000 on" in found.reason
    unknown = judged(ipvs_conn_table, **probed(waits(TABLE, "ip_vs_conn_new", 500)))
    assert unknown.reason.endswith("the rate of new connections is not known")


def test_windows_of_two_lengths_are_compared_by_the_second():
    # 50 ms in 5 s is 1 % of a second; softirqs took 1 s in 4 s, a quarter: 4 %.
    assert table(50, softirq_seconds=4.0).status is Status.PASSED
    assert table(50, softirq_seconds=5.0).status is Status.FINDING


def scheduled(*services, caller="ip_vs_rr_schedule", ms=20, lock=SCHED, **fields):
    return judged(ipvs_scheduler, *services, **probed(waits(lock, caller, ms)), **fields)


@pytest.mark.parametrize("scheduler", ["rr", "wrr", "lblc", "lblcr"])
def test_the_lock_of_a_service(scheduler):
    one = service(1, 1, scheduler=scheduler)
    other = service(1, scheduler="wlc", port=81)
    known = Ipvs((detailed(one), detailed(other)))
    caller = f"ip_vs_{scheduler}_schedule"

    (found,) = scheduled(one, other, caller=caller, ipvs=known).findings

    assert (found.severity, found.subject) == (Severity.MEDIUM, "TCP 198.18.0.100:80")
    assert "2.0 % of softirq time" in found.message
    assert found.fixes[0].commands == ("ipvsadm -E -t 198.18.0.100:80 -s mh",)
    assert scheduled(one, other, caller=caller, ms=19).status is Status.PASSED


def test_the_lock_does_not_say_whose_it_is():
    (found,) = scheduled(service(1), service(1, port=81)).findings

    assert (found.subject, len(found.fixes)) == ("scheduler rr", 2)
    assert found.message.endswith("for the lock of one of 2 services")
    assert found.evidence["services"] == ["TCP 198.18.0.100:80", "TCP 198.18.0.100:81"]


@pytest.mark.parametrize(
    ("lock", "caller"),
    [
        (SCHED, "ip_vs_wrr_dest_changed"),  # somebody edits the service
        ("ip_vs_wlc_schedule", "ip_vs_wlc_schedule"),  # no lock of a service
        ("__ip_vs_mutex", "ip_vs_rr_schedule"),
    ],
)
def test_what_is_not_the_lock_of_scheduling(lock, caller):
    assert scheduled(lock=lock, caller=caller, ms=900).status is Status.PASSED


def test_each_scheduler_is_judged_by_itself():
    locks = (waits(SCHED, "ip_vs_rr_schedule", 15), waits(SCHED, "ip_vs_wrr_schedule", 15))

    assert judged(ipvs_scheduler, **probed(*locks)).status is Status.PASSED


MASTER = Ipvs((), {}, (SyncDaemon("master", "eth1", 7, 1472),))


def synchronised(ms=20, **fields):
    locks = (waits(SYNC, "ip_vs_sync_conn", ms - 5), waits("ipvs->sync_lock", "sb_queue_tail", 5))
    return judged(ipvs_sync, *fields.pop("services", ()), **probed(*locks), **fields)


def test_the_lock_of_synchronising():
    (found,) = synchronised(ipvs=MASTER, **at_rate(packets=100_000)).findings

    assert found.severity is Severity.HIGH
    assert found.evidence["callers"] == ["ip_vs_sync_conn", "sb_queue_tail"]
    assert found.evidence["packets_per_second"] == 100_000.0
    assert found.fixes[0].commands[:2] == (
        "sysctl -w 'net.ipv4.vs.sync_threshold=3 0'",
        "sysctl -w 'net.ipv4.vs.sync_refresh_period=10'",
    )
    assert synchronised(19, ipvs=MASTER).status is Status.PASSED


@pytest.mark.parametrize("rate", [at_rate(packets=99_999), {}], ids=["fewer", "unknown"])
def test_fewer_packets_are_less_grave(rate):
    assert synchronised(ipvs=MASTER, **rate).severity is Severity.MEDIUM


def test_persistent_services_are_told_by_their_templates():
    kept = service(1, persistent_jiffies=75_000)
    (found,) = synchronised(services=(kept,), ipvs=MASTER).findings
    (plain,) = synchronised(ipvs=MASTER).findings

    persist = "sysctl -w 'net.ipv4.vs.sync_persist_mode=1'"
    assert persist in found.fixes[0].commands
    assert persist not in plain.fixes[0].commands


def test_a_director_that_tells_nobody():
    backup = Ipvs((), {}, (SyncDaemon("backup", "eth1", 7, 1472),))

    assert synchronised(900, ipvs=backup).status is Status.NOT_APPLICABLE
    assert synchronised(900, ipvs=Ipvs()).status is Status.NOT_APPLICABLE
    assert synchronised(900, processes=()).status is Status.NOT_APPLICABLE
    thread = program("ipvs-m:0:0", kernel=True)
    assert synchronised(900, processes=(thread,)).status is Status.FINDING
    assert synchronised(900).status is Status.FINDING  # nothing tells: the lock itself does


def sent(*rows, ms=20, queues=2, **fields):
    tx = tuple(Queue(f"tx-{n}", None) for n in range(queues))
    card = Interface("eth0", "0000:00:10.0", None, True, 0, 0, operstate="up", tx_queues=tx)
    virtual = dataclasses.replace(card, name="wg0", physical=False)
    locks = (
        waits(QDISC, "__dev_queue_xmit", ms - 5),
        waits(QDISC, "sch_direct_xmit", 5),
    )
    fields = {"rulesets": Rulesets(None, None, None, rows)} | fields
    return judged(qdisc_root, interfaces=(card, virtual), **probed(*locks), **fields)


NOQUEUE = "qdisc noqueue 0: dev lo root refcnt 2"
SENT = "Sent 18446 bytes 174 pkt (dropped 0, overlimits 0 requeues 3)"
FQ = "qdisc fq_codel 8001: dev eth0 root refcnt 2 limit 10240p flows 1024 quantum 1514"


def test_one_discipline_for_many_queues():
    (found,) = sent(NOQUEUE, SENT, FQ, SENT).findings

    assert (found.subject, found.severity) == ("eth0", Severity.INFO)
    assert found.message.startswith("one fq_codel for all of its queues; ")
    (fix,) = found.fixes
    assert (fix.commands, fix.risk) == (("tc qdisc replace dev eth0 root mq",), Risk.DISRUPTIVE)
    assert sent(FQ, ms=19).status is Status.PASSED


@pytest.mark.parametrize("kind", ["htb 1:", "tbf 8002:"])
def test_one_that_shapes_is_not_taken_away(kind):
    (found,) = sent(f"qdisc {kind} dev eth0 root refcnt 2 r2q 10").findings

    assert found.fixes[0].commands == ()


@pytest.mark.parametrize(
    "rows",
    [
        ("qdisc mq 0: dev eth0 root", "qdisc fq_codel 0: dev eth0 parent :1 limit 10240p"),
        (NOQUEUE.replace("lo", "eth0"),),
        (FQ.replace("eth0", "wg0"),),
        ("qdisc ingress ffff: dev eth0 parent ffff:fff1",),
        (),
    ],
    ids=["mq", "noqueue", "virtual", "ingress", "none"],
)
def test_disciplines_that_are_not_in_the_way(rows):
    assert sent(*rows, ms=900).status is Status.PASSED


def test_a_card_with_one_queue_has_no_better_discipline():
    assert sent(FQ, ms=900, queues=1).status is Status.PASSED


def test_without_tc_it_is_left_open():
    found = sent(ms=900, rulesets=Rulesets((), (), (), None))

    assert found.status is Status.INCONCLUSIVE
    assert "tc(8) could not be asked" in found.reason
