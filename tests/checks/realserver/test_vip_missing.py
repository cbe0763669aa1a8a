from ipaddress import IPv4Network

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.realserver.vip_missing import vip_missing
from dirtune.collect.modules import Modules
from dirtune.collect.rulesets import Rulesets
from tests.checks.nodes import RULES, VIP, card, server

TUNL0 = card("tunl0", type=768, flags=0x81)


CARDS = (card("lo", type=772), card("eth0"))


HERE = frozenset({"127.0.0.1", "198.18.0.11"})


def missing(**fields):
    return run((vip_missing,), server(**({"addresses": HERE} | fields)))[0]


@pytest.mark.parametrize(
    ("forward", "device", "cards"),
    [("Route", "lo", CARDS), ("Tunnel", "tunl0", (*CARDS, TUNL0))],
)
def test_the_virtual_address_is_not_here(forward, device, cards):
    (found,) = missing(forward=forward, interfaces=cards).findings

    assert (found.severity, found.subject) == (Severity.CRITICAL, VIP)
    assert found.evidence == {"vip": VIP, "forward": forward}
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
