import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.realserver.tun_mss import tun_mss
from dirtune.collect.modules import Modules
from dirtune.collect.rulesets import Rulesets
from tests.checks.nodes import LINK, RULES, card, default, server

TUNL0 = card("tunl0", type=768, flags=0x81)


def mss(mtu=1500, forward="Tunnel", rules=((), ()), modules=frozenset(), **route):
    taken = server(
        forward=forward,
        interfaces=(card("eth0", mtu=mtu), TUNL0),
        routes=(LINK, default("198.18.0.254", **route)),
        rulesets=rules and Rulesets(*rules, RULES, None),
        modules=Modules(modules, {}),
    )
    return run((tun_mss,), taken)[0]


def test_full_sized_segments_through_a_tunnel():
    (found,) = mss().findings

    assert (found.severity, found.subject) == (Severity.HIGH, "default route")
    assert found.evidence == {"mss_bytes": 1460, "interface": "eth0"}
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
