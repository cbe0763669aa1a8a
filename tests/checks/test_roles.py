"""What a host is, and checks that compare the nodes of a cluster."""

import pytest

from dirtune import checks
from dirtune.checks import Cluster, Finding, Severity, Status, host_roles
from dirtune.collect.addresses import InterfaceAddress
from dirtune.collect.ip_vs import Destination, Forward, Service
from dirtune.host import RecordedHost
from dirtune.snapshot import Place, Snapshot, take

VIP = "198.18.0.100"
SERVICE = Service("TCP", VIP, 80, None, "rr")
SELF = Service(
    "TCP",
    VIP,
    80,
    None,
    "rr",
    destinations=(Destination("198.18.0.5", 80, Forward.ROUTE, 1, 0, 0),),
)


def holding(interface, address=VIP, **fields):
    return Snapshot(
        interface_addresses=(InterfaceAddress(interface, address, 32, "global"),), **fields
    )


@pytest.mark.parametrize(
    ("snapshot", "wanted"),
    [
        (Snapshot(), ("host",)),
        (Snapshot(services=()), ("host",)),
        (Snapshot(services=(SERVICE,)), ("director",)),
        (Snapshot(services=(SERVICE,), addresses=frozenset({VIP})), ("director",)),
        (Snapshot(services=(SERVICE,), addresses=frozenset({"::1"})), ("director", "backup")),
        (holding("lo"), ("real-server",)),
        (holding("lo:vip"), ("real-server",)),
        (holding("tunl0"), ("real-server",)),
        (holding("load"), ("host",)),
        (holding("lo", "127.0.0.1"), ("host",)),
        (holding("lo", "fd00::9"), ("host",)),
        (holding("lo", place=Place("client")), ("client",)),
        (holding("lo", services=(SERVICE,)), ("director",)),
        # kube-proxy holds every service's address on each node.
        (holding("kube-ipvs0", services=(SERVICE,)), ("director", "real-server")),
        # A destination of its own table is this host.
        (
            holding("lo", services=(SELF,), addresses=frozenset({VIP, "198.18.0.5"})),
            ("director", "real-server"),
        ),
        # Another director balances an address of the link, and this one balances its own.
        (
            Snapshot(
                services=(SERVICE,),
                interface_addresses=(
                    InterfaceAddress("eth0", "198.18.0.5", 24, "global"),
                    InterfaceAddress("lo", "198.18.0.200", 32, "global"),
                ),
            ),
            ("director", "real-server"),
        ),
        # The loopback address of a router is in no link's network.
        (
            Snapshot(
                services=(SERVICE,),
                interface_addresses=(
                    InterfaceAddress("eth0", "198.18.0.5", 24, "global"),
                    InterfaceAddress("lo", "10.255.0.1", 32, "global"),
                ),
            ),
            ("director",),
        ),
    ],
)
def test_a_host_is_what_it_holds_unless_a_plan_says_otherwise(snapshot, wanted):
    assert host_roles.roles(snapshot) == wanted


def names(cluster):
    for name in cluster.role("client"):
        yield Finding(name, Severity.INFO, "is a client")


NAMES = checks.cross_check("client/made-up", severity=Severity.INFO, trust="C")(names)


def test_nodes_are_compared_where_there_are_nodes():
    cluster = Cluster({"c1": Snapshot(place=Place("client")), "rs1": holding("lo")})

    (found,) = checks.run_cross((NAMES,), cluster)

    assert [finding.subject for finding in found.findings] == ["c1"]


def test_one_host_alone_is_not_compared():
    (found,) = checks.run((NAMES,), Snapshot())

    assert found.status is Status.SKIPPED
    assert "--cluster PLAN" in found.reason


def test_a_source_that_was_not_read_is_skipped_for_the_reason_that_its_reader_gives():
    def never(snapshot):
        yield from ()

    made = checks.check("ipvs/made-up", severity=Severity.LOW, trust="A", needs=("ipvs",))(never)
    broken = Snapshot(errors={"ipvs": "ipvs: Expected `int`"})

    absent = take(RecordedHost({}, {}))
    assert "netlink" in absent.errors["ipvs"]
    assert checks.run((made,), absent)[0].reason == absent.errors["ipvs"]
    assert checks.run((made,), broken)[0].reason == "ipvs: Expected `int`"
