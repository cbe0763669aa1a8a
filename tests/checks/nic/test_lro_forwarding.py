import dataclasses
from ipaddress import IPv4Network

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.nic.lro_forwarding import lro_forwarding
from dirtune.collect.addresses import InterfaceAddress
from dirtune.collect.ethtool import Card, Feature
from dirtune.collect.routes import Route
from tests.checks.machines import VIP, director, service
from tests.checks.samples import interface

ON, OFF, FIXED = Feature(True), Feature(False), Feature(True, fixed=True)
BYTES = {"rx_packets": 3000, "rx_bytes": 3_000_000}
ROUTES = (
    Route("eth0", IPv4Network("198.18.0.0/24"), None, 0),
    Route("eth1", IPv4Network("10.0.0.0/8"), None, 0),
)
ADDRESSES = (InterfaceAddress("eth0", VIP, 32, "global"),)


def port(name="eth0", **fields):
    return interface(name, **{"mtu": 1500, "statistics": BYTES, "driver": "ixgbe"} | fields)


def taken(*ports, lro=ON, forward="Route", counters=None, earlier=None, **fields):
    cards = {i.name: Card(features={"rx-lro": lro}, statistics=counters) for i in ports}
    return director(
        service(1, 1, forward=forward),
        **{"interfaces": ports, "ethtool": cards, "earlier": earlier} | fields,
    )


def outcome(*ports, **fields):
    return run((lro_forwarding,), taken(*(ports or (port(),)), **fields))[0]


def test_lro_is_on():
    (found,) = outcome(sysctls={"net/ipv4/conf/eth0/forwarding": 0}).findings

    assert (found.subject, found.severity) == ("eth0", Severity.HIGH)
    assert (found.evidence["forwarding"], found.evidence["merging"]) == (0, {})
    assert found.fixes[0].commands == ("ethtool -K eth0 lro off",)


@pytest.mark.parametrize(
    "name", ["rx_lro_packets", "lro_aggregated", "hw_rsc_aggregated", "[0]: tpa_packets"]
)
def test_the_driver_says_that_it_merges(name):
    then = {"ethtool": {"eth0": Card(statistics={name: 10})}}
    (found,) = outcome(counters={name: 25}, earlier=then).findings

    assert found.severity is Severity.CRITICAL
    assert found.evidence["merging"] == {name: 15}


@pytest.mark.parametrize(("size", "severity"), [(1522, Severity.HIGH), (1523, Severity.CRITICAL)])
def test_packets_greater_than_the_mtu_were_merged(size, severity):
    before = port(statistics={"rx_packets": 2000, "rx_bytes": 3_000_000 - 1000 * size})
    (found,) = outcome(earlier={"interfaces": (before,)}).findings

    assert found.severity is severity


def test_a_driver_that_cannot_be_told_gets_no_command():
    (found,) = outcome(lro=FIXED).findings

    assert (found.fixes[0].id, found.fixes[0].commands) == ("load-driver-without-lro", ())


@pytest.mark.parametrize(
    "fields", [{"lro": OFF}, {"lro": Feature(False, fixed=True)}, {"forward": "Local"}]
)
def test_what_is_well(fields):
    assert outcome(**fields).status is Status.PASSED


@pytest.mark.parametrize(("routes", "names"), [(ROUTES, ["eth0"]), (None, ["eth0", "eth1"])])
def test_a_port_without_services_is_left(routes, names):
    found = outcome(port(), port("eth1"), routes=routes, interface_addresses=ADDRESSES).findings

    assert [each.subject for each in found] == names


def test_ports_of_a_bond_carry_its_packets():
    slave = port("eth1", master="bond0")
    routes = (Route("bond0", IPv4Network("198.18.0.0/24"), None, 0),)
    held = (InterfaceAddress("lo", VIP, 32, "global"),)
    found = outcome(port(), slave, routes=routes, interface_addresses=held).findings

    assert [each.subject for each in found] == ["eth1"]


def test_a_vlan_in_the_way_makes_every_port_count():
    routes = (Route("eth0.7", IPv4Network("198.18.0.0/24"), None, 0),)
    found = outcome(port(), routes=routes, interface_addresses=ADDRESSES).findings

    assert [each.subject for each in found] == ["eth0"]


def test_what_it_takes():
    unknown = dataclasses.replace(taken(port()), ethtool={"eth0": Card()})

    assert run((lro_forwarding,), unknown)[0].status is Status.INCONCLUSIVE
    assert outcome(ethtool=None).status is Status.SKIPPED
    nobody = dataclasses.replace(taken(port()), services=())
    assert run((lro_forwarding,), nobody)[0].status is Status.NOT_APPLICABLE
