from ipaddress import IPv4Network

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.realserver.vip_mask import vip_mask
from dirtune.collect.addresses import InterfaceAddress
from tests.checks.nodes import DIRECTOR, VIP, server

NETWORK = IPv4Network("198.18.0.0/24")


def outcome(*held, local=frozenset({NETWORK}), **fields):
    return run((vip_mask,), server(*held, local_networks=local, **fields))[0]


def on(interface, address=VIP, prefix=24):
    return InterfaceAddress(interface, address, prefix, "global")


def test_a_network_on_loopback():
    (found,) = outcome(on("lo")).findings

    assert (found.severity, found.subject) == (Severity.HIGH, f"{VIP}/24 on lo")
    assert found.message.startswith(f"{VIP}/24 on lo makes 256 addresses")
    assert f"{DIRECTOR}, {VIP} and 198.18.0.254" in found.message
    assert found.fixes[0].commands == (
        f"ip addr add {VIP}/32 dev lo",
        f"ip addr del {VIP}/24 dev lo",
    )


def test_a_network_of_ipv6():
    (found,) = outcome(on("lo", "2001:db8::100", 64)).findings

    assert found.fixes[0].commands[0] == "ip addr add 2001:db8::100/128 dev lo"


@pytest.mark.parametrize(
    "held",
    [
        on("lo", prefix=32),
        on("dummy0"),
        on("eth1"),
        on("lo", "127.0.0.1", 8),
        on("lo", "2001:db8::100", 128),
    ],
)
def test_other_masks_and_interfaces(held):
    assert outcome(held).status is Status.PASSED


def test_a_network_that_the_local_table_does_not_hold():
    assert outcome(on("lo"), local=frozenset()).status is Status.PASSED


def test_an_unknown_local_table_leaves_it_open():
    assert outcome(on("lo"), local=None).status is Status.INCONCLUSIVE
    assert outcome(interface_addresses=None).status is Status.SKIPPED
