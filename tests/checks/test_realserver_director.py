"""realserver/nat-redirects and dr-off-link: checks of a director about its real servers."""

import dataclasses

import pytest

from dirtune.checks import Risk, Severity, Status, run
from dirtune.checks.realserver.dr_off_link import dr_off_link
from dirtune.checks.realserver.nat_redirects import nat_redirects
from dirtune.collect.ip_vs import Destination, Service
from dirtune.collect.rulesets import Rulesets
from dirtune.snapshot import Place, Snapshot
from tests.checks.nodes import LINK, RULES, VIP, default, settings

NEAR, FAR = "198.18.0.11", "192.0.2.11"


def director(forward, *servers, vip=VIP, **fields):
    rows = tuple(Destination(each, 80, forward, 1, 0, 0) for each in servers)
    services = (Service("TCP", vip, 80, None, "rr", destinations=rows),)
    defaults = {
        "services": services,
        "routes": (LINK, default("198.18.0.254")),
        "addresses": frozenset({vip, "198.18.0.1"}),
        "rulesets": Rulesets(None, None, RULES, None),
    }
    return Snapshot(**(defaults | fields))


def redirects(everyone=1, own=1, *, clients=("198.18.0.77",), forward="Masq", **fields):
    place = Place("director", client_addresses=frozenset(clients))
    sysctls = settings(all_send_redirects=everyone, eth0_send_redirects=own)
    taken = director(forward, NEAR, **({"sysctls": sysctls, "place": place} | fields))
    return run((nat_redirects,), taken)[0]


def off_link(forward, *servers, **fields):
    return run((dr_off_link,), director(forward, *servers, **fields))[0]


@pytest.mark.parametrize("values", [(1, 1), (0, 1), (1, 0)])
def test_either_setting_sends_redirects(values):
    (found,) = redirects(*values).findings

    assert (found.severity, found.subject) == (Severity.HIGH, "eth0")
    assert found.message == "sends ICMP redirects, and 198.18.0.77 sits beside the real servers"
    assert found.fixes[0].commands[:2] == (
        "sysctl -w 'net.ipv4.conf.all.send_redirects=0'",
        "sysctl -w 'net.ipv4.conf.eth0.send_redirects=0'",
    )


def test_redirects_that_were_sent():
    now = Snapshot(snmp={"Icmp.OutRedirects": 5})
    (found,) = redirects(clients=(), snmp={"Icmp.OutRedirects": 8}, earlier=now).findings

    assert found.message == "3 ICMP redirects were sent meanwhile"


@pytest.mark.parametrize(
    ("values", "fields"),
    [
        ((0, 0), {}),
        ((1, 1), {"clients": ("203.0.113.7",)}),
        ((1, 1), {"forward": "Route"}),
        ((1, 1), {"vip": "203.0.113.100", "clients": ()}),
    ],
)
def test_two_networks_and_silence(values, fields):
    assert redirects(*values, **fields).status is Status.PASSED


def test_clients_that_nobody_names_leave_it_open():
    assert redirects(clients=()).status is Status.INCONCLUSIVE
    assert redirects(sysctls=settings(all_send_redirects=0)).status is Status.INCONCLUSIVE
    assert redirects(sysctls=None).status is Status.SKIPPED


def test_direct_routing_over_a_router():
    (found,) = off_link("Route", NEAR, FAR).findings

    assert (found.severity, found.subject) == (Severity.CRITICAL, FAR)
    assert found.message.startswith("is reached over 198.18.0.254")
    assert (found.fixes[0].risk, found.fixes[0].commands) == (Risk.DISRUPTIVE, ())


@pytest.mark.parametrize(
    ("forward", "server"),
    [("Route", NEAR), ("Tunnel", FAR), ("Masq", FAR), ("Route", "198.18.0.1")],
)
def test_on_the_link_or_by_other_means(forward, server):
    assert off_link(forward, server).status is Status.PASSED


def test_a_link_made_of_a_tunnel_has_no_gateway():
    vxlan = dataclasses.replace(LINK, interface="vxlan7")

    assert off_link("Route", NEAR, routes=(vxlan,)).status is Status.PASSED


def test_rules_and_no_route_leave_it_open():
    own = Rulesets(None, None, ("9: from all to 192.0.2.0/24 lookup 7", *RULES), None)

    assert off_link("Route", FAR, rulesets=own).status is Status.INCONCLUSIVE
    assert off_link("Route", FAR, rulesets=None).status is Status.INCONCLUSIVE
    assert off_link("Route", FAR, routes=(LINK,)).status is Status.INCONCLUSIVE
    assert off_link("Route", FAR, routes=None).status is Status.SKIPPED
    assert run((dr_off_link,), Snapshot(services=(), routes=()))[0].status is (
        Status.NOT_APPLICABLE
    )
