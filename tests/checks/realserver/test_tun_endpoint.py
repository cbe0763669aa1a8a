import dataclasses

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.realserver.tun_endpoint import tun_endpoint
from tests.checks.nodes import VIP, card, server

TUNL0 = card("tunl0", type=768, flags=0x81)


CARDS = (card("lo", type=772), card("eth0"))


HERE = frozenset({"127.0.0.1", "198.18.0.11"})


def endpoint(*tunnels, forward="Tunnel", **fields):
    cards = {"interfaces": (*CARDS, *tunnels), "addresses": HERE}
    return run((tun_endpoint,), server(**(cards | {"forward": forward} | fields)))[0]


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

    assert found.evidence["down"] == ["tunl0"]
    assert found.fixes[0].commands == ("ip link set dev tunl0 up",)


@pytest.mark.parametrize("kind", [768, 769, 778])
def test_a_tunnel_that_is_up(kind):
    assert endpoint(dataclasses.replace(TUNL0, type=kind)).status is Status.PASSED


def test_a_programs_own_tunnel_and_unknown_flags_leave_it_open():
    assert endpoint(card("tun0", type=65534)).status is Status.INCONCLUSIVE
    assert endpoint(dataclasses.replace(TUNL0, flags=None)).status is Status.INCONCLUSIVE
    assert endpoint(forward="Route").status is Status.NOT_APPLICABLE
    assert endpoint(interfaces=None).status is Status.SKIPPED
