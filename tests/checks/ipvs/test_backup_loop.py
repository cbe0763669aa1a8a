import dataclasses

import pytest

from dirtune.checks import Cluster, Severity, Status, run_cross
from dirtune.checks.ipvs.backup_loop import backup_loop
from dirtune.collect.ip_vs import Destination, Service
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Place, Snapshot
from tests.checks.ipvs.synchronised import VIP


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
        (Cluster({}, {"lb1": "director"}), Status.SKIPPED, "no node"),
        (Cluster({"lb1": DIRECTOR}), Status.NOT_APPLICABLE, "fewer than two"),
        (Cluster({"lb1": DIRECTOR}, {"rs1": "real-server"}), Status.SKIPPED, "rs1 was not read"),
        (Cluster({"lb1": DIRECTOR, "lb2": UNREAD}), Status.SKIPPED, "lb2"),
        (Cluster({"lb1": PLACED, "lb2": PLACED}), Status.SKIPPED, "lb1"),
        (
            Cluster({"a": DIRECTOR, "b": dataclasses.replace(DIRECTOR, addresses=None)}),
            Status.SKIPPED,
            "addresses of b",
        ),
    ],
)
def test_what_was_not_read_never_passes(cluster, status, said):
    (outcome,) = run_cross((backup_loop,), cluster)

    assert outcome.status is status
    assert said in outcome.reason
