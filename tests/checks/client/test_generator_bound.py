import dataclasses

import pytest

from dirtune.checks import Cluster, Severity, Status, run, run_cross
from dirtune.checks.client.generator_bound import generator_bound
from dirtune.collect.net import Interface
from dirtune.collect.stat import CpuTimes, Stat
from dirtune.snapshot import Place, Snapshot


def busy(role, percent, *, sent=0, speed=1000):
    """A node with one CPU and one link over 2 s."""

    def at(ticks, idle, bytes, seconds, **fields):
        times = CpuTimes(0, ticks, 0, 0, idle)
        link = Interface(
            "eth0", None, None, True, 1, 1, speed_mbps=speed, statistics={"tx_bytes": bytes}
        )
        return Snapshot(
            stat=Stat(times, (times,), None), interfaces=(link,), taken_s=seconds, **fields
        )

    earlier = at(0, 0, 0, 10.0)
    return at(2 * percent, 200 - 2 * percent, sent, 12.0, earlier=earlier, place=Place(role))


def bound(**nodes):
    return run_cross((generator_bound,), Cluster(nodes))[0]


def test_a_client_at_its_end():
    (found,) = bound(lb=busy("director", 59), c1=busy("client", 90)).findings

    assert (found.severity, found.subject) == (Severity.INFO, "c1")
    assert found.evidence["client_cpu_percent"] == 90
    assert found.evidence["director_cpu_percent"] == 59


def test_a_link_at_its_end():
    # 225 MB in 2 s are 900 Mbit/s.
    (found,) = bound(lb=busy("director", 5), c1=busy("client", 5, sent=225_000_000)).findings

    assert found.evidence["client_link_percent"] == {"eth0": 90}


@pytest.mark.parametrize(("director", "client"), [(60, 95), (10, 89)])
def test_the_director_is_measured(director, client):
    found = bound(lb=busy("director", director), c1=busy("client", client))

    assert found.status is Status.PASSED


def test_nodes_that_cannot_be_compared():
    assert bound(lb=busy("director", 5)).status is Status.NOT_APPLICABLE
    once = Snapshot(place=Place("client"))
    assert bound(lb=busy("director", 5), c1=once).status is Status.INCONCLUSIVE
    assert bound(lb=Snapshot(place=Place("director")), c1=once).status is Status.INCONCLUSIVE
    assert run((generator_bound,), once)[0].status is Status.SKIPPED


def test_nodes_that_were_not_read_leave_it_open():
    nodes = {"lb": busy("director", 5), "c1": busy("client", 5)}

    def with_unread(name, role):
        return run_cross((generator_bound,), Cluster(nodes, {name: role}))[0]

    assert run_cross((generator_bound,), Cluster({}))[0].status is Status.SKIPPED
    assert with_unread("c2", "client").status is Status.SKIPPED
    assert "c2" in with_unread("c2", "client").reason
    assert with_unread("rs1", "real-server").status is Status.PASSED
    blind = dataclasses.replace(nodes["c1"], interfaces=None)
    assert bound(lb=nodes["lb"], c1=blind).status is Status.INCONCLUSIVE
