import pytest

from dirtune.checks import Severity, Status
from dirtune.checks.lock.ipvs_sync import ipvs_sync
from dirtune.collect.ipvs_netlink import Ipvs, SyncDaemon
from tests.checks.lock.waiting import SYNC, at_rate, judged, probed, waits
from tests.checks.machines import program, service

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
