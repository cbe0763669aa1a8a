"""realserver/vip-missing, tun-endpoint and tun-mss."""

import dataclasses
from ipaddress import IPv4Network

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.realserver.tun_endpoint import tun_endpoint
from dirtune.checks.realserver.tun_mss import tun_mss
from dirtune.checks.realserver.vip_missing import vip_missing
from dirtune.collect.modules import Modules
from dirtune.collect.rulesets import Rulesets
from tests.checks.nodes import LINK, RULES, VIP, card, default, server

TUNL0 = card("tunl0", type=768, flags=0x81)
CARDS = (card("lo", type=772), card("eth0"))
HERE = frozenset({"127.0.0.1", "198.18.0.11"})


def missing(**fields):
    return run((vip_missing,), server(**({"addresses": HERE} | fields)))[0]


def endpoint(*tunnels, forward="Tunnel", **fields):
    cards = {"interfaces": (*CARDS, *tunnels), "addresses": HERE}
    return run((tun_endpoint,), server(**(cards | {"forward": forward} | fields)))[0]


def mss(mtu=1500, forward="Tunnel", rules=((), ()), modules=frozenset(), **route):
    taken = server(
        forward=forward,
        interfaces=(card("eth0", mtu=mtu), TUNL0),
        routes=(LINK, default("198.18.0.254", **route)),
        rulesets=rules and Rulesets(*rules, RULES, None),
        modules=Modules(modules, {}),
    )
    return run((tun_mss,), taken)[0]


@pytest.mark.parametrize(
    ("forward", "device", "cards"),
    [("Route", "lo", CARDS), ("Tunnel", "tunl0", (*CARDS, TUNL0))],
)
def test_the_virtual_address_is_not_here(forward, device, cards):
    (found,) = missing(forward=forward, interfaces=cards).findings

    assert (found.severity, found.subject) == (Severity.CRITICAL, VIP)
    assert found.message == f"is not on this host, and the director sends it by {forward}"
    assert found.fixes[0].commands == (f"ip addr add {VIP}/32 dev {device}",)


@pytest.mark.parametrize(
    "fields",
    [
        {"addresses": HERE | {VIP}},
        {"local_networks": frozenset({IPv4Network("198.18.0.64/26")})},
    ],
)
def test_the_virtual_address_is_here(fields):
    assert missing(**fields).status is Status.PASSED


@pytest.mark.parametrize(
    "fields",
    [
        {"rulesets": Rulesets((), ("-A PREROUTING -p tcp -j TPROXY --on-port 9",), RULES, None)},
        {"rulesets": Rulesets(("tcp dport 80 redirect to :8080",), (), RULES, None)},
        {"rulesets": None, "modules": Modules(frozenset({"ip_tables"}), {})},
        {"rulesets": None, "modules": None},
        {"place": False},
    ],
)
def test_a_redirect_or_rules_unseen_leave_it_open(fields):
    assert missing(**fields).status is Status.INCONCLUSIVE


def test_nat_needs_no_virtual_address():
    assert missing(forward="Masq").status is Status.NOT_APPLICABLE
    assert missing(addresses=None).status is Status.SKIPPED


def test_no_tunnel_at_all():
    (found,) = endpoint().findings

    assert (found.severity, found.subject) == (Severity.CRITICAL, "tunl0")
    assert found.evidence["ipip_loaded"] is False
    assert found.fixes[0].commands == (
        "modprobe ipip",
        "ip link set dev tunl0 up",
        f"ip addr add {VIP}/32 dev tunl0",
    )


def test_a_tunnel_that_is_down():
    down = dataclasses.replace(TUNL0, flags=0x80)
    (found,) = endpoint(down, addresses=HERE | {VIP}).findings

    assert found.message == "tunl0 is down"
    assert found.fixes[0].commands == ("ip link set dev tunl0 up",)


@pytest.mark.parametrize("kind", [768, 769, 778])
def test_a_tunnel_that_is_up(kind):
    assert endpoint(dataclasses.replace(TUNL0, type=kind)).status is Status.PASSED


def test_a_programs_own_tunnel_and_unknown_flags_leave_it_open():
    assert endpoint(card("tun0", type=65534)).status is Status.INCONCLUSIVE
    assert endpoint(dataclasses.replace(TUNL0, flags=None)).status is Status.INCONCLUSIVE
    assert endpoint(forward="Route").status is Status.NOT_APPLICABLE
    assert endpoint(interfaces=None).status is Status.SKIPPED


def test_full_sized_segments_through_a_tunnel():
    (found,) = mss().findings

    assert (found.severity, found.subject) == (Severity.HIGH, "default route")
    assert found.message == "announces segments of 1460 bytes, 1440 fit through the tunnel"
    assert found.fixes[0].commands == (
        "ip route change default via 198.18.0.254 dev eth0 advmss 1440",
    )


def test_a_byte_too_many():
    assert mss(advmss=1441).status is Status.FINDING
    assert mss(advmss=1440).status is Status.PASSED


@pytest.mark.parametrize(
    "fields",
    [
        {"mtu": 9000},
        {"mtu": 1480},
        {"rules": ((), ("-A POSTROUTING -p tcp -j TCPMSS --set-mss 1440",))},
        {"rules": (("tcp option maxseg size set 1440",), ())},
    ],
)
def test_segments_that_fit(fields):
    assert mss(**fields).status is Status.PASSED


def test_unseen_rules_leave_it_open():
    assert mss(rules=None, modules=frozenset({"xt_TCPMSS"})).status is Status.INCONCLUSIVE
    assert mss(rules=None).status is Status.FINDING
    assert mss(mtu=None).status is Status.INCONCLUSIVE
    assert mss(forward="Route").status is Status.NOT_APPLICABLE
