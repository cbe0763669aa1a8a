import dataclasses
from ipaddress import IPv4Network

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.realserver.tun_rp_filter import tun_rp_filter
from dirtune.collect.addresses import InterfaceAddress
from dirtune.collect.routes import Route
from tests.checks.earlier import with_earlier
from tests.checks.nodes import LINK, VIP, card, default, server, settings

TUNL0 = card("tunl0", type=768, flags=0x81)
CARDS = (card("lo", type=772), card("eth0"), TUNL0)
HELD = InterfaceAddress("tunl0", VIP, 32, "global")


def taken(everyone=1, own=1, **fields):
    sysctls = settings(all_rp_filter=everyone, tunl0_rp_filter=own)
    return server(
        HELD, **({"forward": "Tunnel", "interfaces": CARDS, "sysctls": sysctls} | fields)
    )


def outcome(*values, **fields):
    return run((tun_rp_filter,), taken(*values, **fields))[0]


@pytest.mark.parametrize("values", [(1, 1), (1, 0), (0, 1)])
def test_strict_by_the_greater_of_two(values):
    (found,) = outcome(*values).findings

    assert (found.severity, found.subject) == (Severity.CRITICAL, "tunl0")
    assert found.evidence["rp_filter_all"] == values[0]
    assert found.fixes[0].commands[:2] == (
        "sysctl -w 'net.ipv4.conf.all.rp_filter=2'",
        "sysctl -w 'net.ipv4.conf.tunl0.rp_filter=0'",
    )


def test_what_was_dropped_meanwhile_is_said():
    name = "TcpExt.IPReversePathFilter"
    now = taken(snmp={name: 142}, taken_s=12.0)
    (found,) = run((tun_rp_filter,), with_earlier(now, 10.0, snmp={name: 100}))[0].findings

    assert found.evidence["dropped_packets"] == 42


@pytest.mark.parametrize("values", [(0, 0), (2, 1), (1, 2), (2, 0)])
def test_off_and_loose(values):
    assert outcome(*values).status is Status.PASSED


def test_an_address_on_the_tunnel_tells_without_a_plan():
    assert outcome(place=False).status is Status.FINDING


def test_a_network_of_its_own_in_the_tunnel_is_no_directors():
    pods = Route("tunl0", IPv4Network("10.244.1.0/24"), "198.18.0.12", 0)
    found = outcome(place=False, routes=(LINK, default("198.18.0.254"), pods))

    assert found.status is Status.NOT_APPLICABLE


def test_other_forwarding():
    assert outcome(forward="Route").status is Status.NOT_APPLICABLE


def test_a_tunnel_that_is_down():
    down = (*CARDS[:2], dataclasses.replace(TUNL0, flags=0x80))

    assert outcome(interfaces=down).status is Status.NOT_APPLICABLE


def test_unknown_settings_leave_it_open():
    assert outcome(sysctls=settings(all_rp_filter=1)).status is Status.INCONCLUSIVE
    assert outcome(sysctls=None).status is Status.SKIPPED
    assert outcome(place=False, routes=None).status is Status.INCONCLUSIVE
