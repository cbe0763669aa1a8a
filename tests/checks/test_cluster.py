import dataclasses

from dirtune.checks.cluster import own_addresses, places, source_nat
from dirtune.collect.ip_vs import Destination, Service
from dirtune.collect.modules import Modules
from dirtune.collect.rulesets import Rulesets
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Place, Snapshot

VIP = "198.18.0.100"


def node(*addresses, **fields):
    return Snapshot(addresses=frozenset({"127.0.0.1", "::1", *addresses}), **fields)


def service(forward, *servers, vip=VIP):
    rows = tuple(Destination(each, 80, forward, 1, 0, 0) for each in servers)
    return Service("TCP", vip, 80, None, "rr", destinations=rows)


LB = node("198.18.0.1", VIP, services=(service("Tunnel", "198.18.0.11"),))
NODES = {"lb": LB, "rs": node("198.18.0.11", VIP), "c": node("198.18.0.20", "fe80::1")}
PLANNED = {
    "lb": Place("director"),
    "rs": Place("real-server", ("192.0.2.1",), "Route"),
    "c": Place("client", rate=300.0, concurrency=300),
}


def test_what_the_director_does_goes_before_the_plan():
    found = places(LB, NODES, PLANNED)

    assert (found["rs"].vips, found["rs"].forward) == ((VIP,), "Tunnel")
    assert found["rs"].director_addresses == {"198.18.0.1", VIP}
    assert found["rs"].client_addresses == {"198.18.0.20"}
    assert (found["c"].role, found["c"].rate) == ("client", 300.0)


def test_a_server_that_is_reached_in_two_ways():
    other = service("Masq", "198.18.0.11", vip="198.18.0.101")
    both = dataclasses.replace(LB, services=(*LB.services, other))

    found = places(both, {**NODES, "lb": both}, PLANNED)["rs"]

    assert (found.forward, found.others, found.vips) == ("Tunnel", {"Masq"}, (VIP,))


def test_a_server_that_no_plan_names():
    found = places(LB, NODES, {"lb": Place("director")})

    assert found["rs"].role == "real-server"
    assert "c" not in found


def test_a_director_that_was_not_reached_leaves_the_plan():
    found = places(None, {"rs": NODES["rs"]}, PLANNED)

    assert (found["rs"].forward, found["rs"].source_nat) == ("Route", None)
    assert found["rs"].director_addresses == frozenset()


def test_a_director_is_no_server_of_its_own():
    own = dataclasses.replace(LB, services=(service("Local", "198.18.0.1"),))

    assert places(own, {**NODES, "lb": own}, PLANNED)["lb"].role == "director"


def test_own_addresses():
    assert own_addresses(NODES["c"]) == {"198.18.0.20"}


def test_sources_are_rewritten_only_where_rules_see_the_packets():
    rules = Rulesets((), ("-A POSTROUTING -o eth0 -j MASQUERADE",), None, None)
    off, on = (Sysctls({"net/ipv4/vs/conntrack": value}) for value in "01")

    assert source_nat(Snapshot(rulesets=rules, sysctls=off)) is False
    assert source_nat(Snapshot(rulesets=rules, sysctls=on)) is True
    assert source_nat(Snapshot(sysctls=on)) is None
    assert source_nat(Snapshot(sysctls=on, modules=Modules(frozenset(), {}))) is False
