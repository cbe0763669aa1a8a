"""ipvs/sync-missing, ipvs/sync-overload and ipvs/backup-loop."""

import dataclasses

import pytest

from dirtune.checks import Cluster, Severity, Status, run, run_cross
from dirtune.checks.ipvs.backup_loop import backup_loop
from dirtune.checks.ipvs.sync_missing import sync_missing
from dirtune.checks.ipvs.sync_overload import sync_overload
from dirtune.collect.ip_vs import Destination, Service
from dirtune.collect.ipvs_netlink import Ipvs, SyncDaemon
from dirtune.collect.net import Interface
from dirtune.collect.processes import Process
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Place, Snapshot

VIP = "198.18.0.100"
MASTER = SyncDaemon("master", "eth1", 7, 1472)
CARD = Interface("eth1", None, None, True, 0, 0, operstate="up", mtu=1500)


def process(name, pid=9, ticks=0, *, kernel=False):
    return Process(pid, name, kernel, ticks, 0, "other", 0)


KEEPALIVED = tuple(process("keepalived", pid) for pid in (10, 11, 12))


def director(*daemons, scheduler="wlc", processes=KEEPALIVED, settings=(), **fields):
    values = {"services": (Service("TCP", VIP, 80, None, scheduler),)} | {
        "ipvs": Ipvs(daemons=daemons),
        "processes": processes,
        "addresses": frozenset({VIP}),
        "interfaces": (CARD,),
        "sysctls": Sysctls({f"net/ipv4/vs/{k}": str(v) for k, v in dict(settings).items()}),
    }
    return Snapshot(**(values | fields))


def missing(*daemons, **fields):
    return run((sync_missing,), director(*daemons, **fields))[0]


def test_keepalived_without_a_daemon():
    (found,) = missing().findings

    assert (found.severity, found.subject) == (Severity.MEDIUM, "sync daemon")
    assert "not synchronised" in found.message
    assert found.fixes[0].commands == ()


def test_a_stateless_design_is_told_and_no_more():
    found = missing(scheduler="mh", settings={"sloppy_tcp": 1})

    assert [f.severity for f in found.findings] == [Severity.INFO]
    assert missing(scheduler="mh").severity is Severity.MEDIUM
    assert missing(settings={"sloppy_tcp": 1}).severity is Severity.MEDIUM


@pytest.mark.parametrize(
    "processes", [(), KEEPALIVED[:2], (process("bird"),)], ids=["none", "checker only", "bgp"]
)
def test_a_director_alone_has_nobody_to_tell(processes):
    assert missing(processes=processes).status is Status.PASSED


def test_a_daemon_that_works():
    assert missing(MASTER, settings={"sync_version": 1}).status is Status.PASSED


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"interfaces": (dataclasses.replace(CARD, operstate="down"),)}, "eth1, which is not up"),
        ({"interfaces": (dataclasses.replace(CARD, name="eth0"),)}, "eth1, which is not up"),
        ({"addresses": frozenset({"198.18.0.2"})}, "holds none of the addresses"),
        ({"settings": {"sync_version": 0}}, "the old protocol"),
    ],
)
def test_a_daemon_that_cannot_work(fields, said):
    (found,) = missing(MASTER, **fields).findings

    assert said in found.message
    assert found.evidence == {"state": "master", "interface": "eth1", "sync_id": 7}


def test_a_backup_holds_no_address_by_design():
    elsewhere = frozenset({"198.18.0.2"})
    backup = SyncDaemon("backup", "eth1", 7, 1472)

    assert missing(backup, addresses=elsewhere).status is Status.PASSED
    assert missing(MASTER, backup, addresses=elsewhere).status is Status.PASSED


def threads(then, now, **fields):
    name = fields.pop("name", "ipvs-m:0:0")
    taken = director(MASTER, processes=(process(name, ticks=now, kernel=True),), **fields)
    before = director(
        MASTER, processes=(process(name, ticks=then, kernel=True),), snmp=fields.pop("was", None)
    )
    earlier = dataclasses.replace(before, taken_s=10.0)
    return run((sync_overload,), dataclasses.replace(taken, taken_s=12.0, earlier=earlier))[0]


def test_a_thread_that_is_busy():
    (found,) = threads(100, 240).findings

    assert (found.subject, found.message) == ("ipvs-m:0:0", "uses 70 % of a CPU")
    assert found.fixes[0].commands[0] == "sysctl -w 'net.ipv4.vs.sync_ports=4'"
    assert threads(100, 239).status is Status.PASSED


@pytest.mark.parametrize(
    ("name", "counter"), [("ipvs-m:0:0", "SndbufErrors"), ("ipvs-b:0:0", "RcvbufErrors")]
)
def test_messages_that_are_lost(name, counter):
    before, after = ({f"Udp.{counter}": n} for n in (5, 9))
    earlier = director(MASTER, processes=(process(name, kernel=True),), snmp=before, taken_s=10.0)
    taken = dataclasses.replace(earlier, snmp=after, taken_s=12.0, earlier=earlier)

    (found,) = run((sync_overload,), taken)[0].findings

    assert found.message == f"messages are lost: {counter} rose by 4"
    other = dataclasses.replace(taken, snmp=before)
    assert run((sync_overload,), other)[0].status is Status.PASSED


def test_messages_in_fragments():
    small = dataclasses.replace(CARD, mtu=1499)
    (found,) = run((sync_overload,), director(MASTER, interfaces=(small,)))[0].findings

    assert found.evidence == {"maxlen_bytes": 1472, "mtu_bytes": 1499, "interface": "eth1"}
    assert run((sync_overload,), director(MASTER))[0].status is Status.PASSED


def test_without_threads_there_is_nothing_to_overload():
    lost = {"Udp.SndbufErrors": 9}
    earlier = director(snmp={"Udp.SndbufErrors": 1}, taken_s=10.0)
    taken = dataclasses.replace(earlier, snmp=lost, taken_s=12.0, earlier=earlier)

    assert run((sync_overload,), taken)[0].status is Status.PASSED


def pair(forward="Route", backup_only=0, target="198.18.0.2"):
    def one(own, other):
        destination = Destination(other, 80, forward, 1, 0, 0)
        service = Service("TCP", VIP, 80, None, "rr", destinations=(destination,))
        return Snapshot(
            services=(service,),
            addresses=frozenset({own, VIP}),
            sysctls=Sysctls({"net/ipv4/vs/backup_only": str(backup_only)}),
        )

    nodes = {"lb1": one("198.18.0.1", target), "lb2": one("198.18.0.2", "198.18.0.1")}
    return run_cross((backup_loop,), Cluster(nodes))[0]


@pytest.mark.parametrize("forward", ["Route", "Tunnel"])
def test_directors_that_are_real_servers_of_each_other(forward):
    found = pair(forward).findings

    assert [f.subject for f in found] == ["lb1", "lb2"]
    assert (found[0].severity, found[0].evidence["directors"]) == (Severity.HIGH, ["lb1", "lb2"])
    assert found[0].fixes[0].commands[0] == "sysctl -w 'net.ipv4.vs.backup_only=1'"


@pytest.mark.parametrize(
    "options",
    [{"forward": "Masq"}, {"backup_only": 1}, {"target": "198.18.0.11"}, {"target": VIP}],
    ids=["NAT", "backup_only", "one way", "an address of both"],
)
def test_directors_that_do_not_loop(options):
    assert pair(**options).status is Status.PASSED


def test_an_unknown_setting_leaves_it_open():
    assert pair(backup_only="x").status is Status.INCONCLUSIVE


DIRECTOR = Snapshot(services=(Service("TCP", VIP, 80, None, "rr"),), addresses=frozenset({VIP}))
UNREAD = dataclasses.replace(DIRECTOR, services=None)
PLACED = Snapshot(place=Place("director"))


@pytest.mark.parametrize(
    ("cluster", "status", "said"),
    [
        (Cluster({}, {"lb1": "director"}), Status.SKIPPED, "no node was read"),
        (Cluster({"lb1": DIRECTOR}), Status.NOT_APPLICABLE, "fewer than two"),
        (Cluster({"lb1": DIRECTOR}, {"rs1": "real-server"}), Status.SKIPPED, "rs1 was not read"),
        (Cluster({"lb1": DIRECTOR, "lb2": UNREAD}), Status.SKIPPED, "lb2: its IPVS services"),
        (Cluster({"lb1": PLACED, "lb2": PLACED}), Status.SKIPPED, "lb1: its IPVS services"),
        (
            Cluster({"a": DIRECTOR, "b": dataclasses.replace(DIRECTOR, addresses=None)}),
            Status.SKIPPED,
            "b: its addresses",
        ),
    ],
)
def test_what_was_not_read_never_passes(cluster, status, said):
    (outcome,) = run_cross((backup_loop,), cluster)

    assert outcome.status is status
    assert said in outcome.reason
