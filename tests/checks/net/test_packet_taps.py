import dataclasses

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.net.packet_taps import packet_taps
from dirtune.collect.addresses import InterfaceAddress
from dirtune.collect.net import Interface
from dirtune.collect.packet import PacketSocket
from tests.checks.machines import VIP, director, program, service

ETH0 = Interface(
    "eth0", None, None, True, 2_000_000, 0, operstate="up", type=1, flags=0x1003, ifindex=2
)
LO = Interface("lo", None, None, False, 0, 0, type=772, flags=0x9, ifindex=1)
VETH = Interface("veth0", None, None, False, 0, 0, type=1, flags=0x1003, ifindex=9)


def tap(ifindex=2, protocol=3, *, running=True):
    return PacketSocket(protocol, ifindex, running, 4711)


def outcome(*sockets, eth0=ETH0, earlier=None, **fields):
    services = fields.pop("services", (service(1),))
    known = {"interfaces": (LO, eth0, VETH), "processes": (program("tcpdump"),)}
    taken = director(*services, earlier=earlier, **({"packet": sockets} | known | fields))
    return run((packet_taps,), taken)[0]


def at(pps):
    then = dataclasses.replace(ETH0, rx_packets=2_000_000 - 10 * pps)
    return {"interfaces": (LO, then, VETH)}


@pytest.mark.parametrize(
    ("pps", "severity"), [(100_000, Severity.HIGH), (99_999, Severity.MEDIUM)]
)
def test_a_tap(pps, severity):
    (found,) = outcome(tap(), tap(), earlier=at(pps)).findings

    assert (found.subject, found.severity) == ("eth0", severity)
    assert found.evidence["sockets"] == 2
    assert found.evidence["packets_per_second"] == pps
    assert [(fix.id, fix.commands) for fix in found.fixes] == [("stop-capture", ())]


def test_a_tap_of_unknown_rate():
    (found,) = outcome(tap()).findings

    assert found.severity is Severity.MEDIUM
    assert found.evidence["packets_per_second"] is None


def test_a_tap_on_all_interfaces():
    (found,) = outcome(tap(0), earlier=at(100_000)).findings

    assert (found.subject, found.severity) == ("all interfaces", Severity.HIGH)
    assert found.evidence["interfaces"] == ["eth0"]


def test_the_bond_above_a_card_and_who_holds_a_virtual_address_carry_packets():
    bond = dataclasses.replace(VETH, name="bond0", ifindex=5)
    held = InterfaceAddress("veth0", VIP, 32, "global")
    slave = dataclasses.replace(ETH0, master="bond0")
    found = outcome(
        *(tap(5), tap(9)), interfaces=(LO, slave, bond, VETH), interface_addresses=(held,)
    )

    assert [f.subject for f in found.findings] == ["bond0", "veth0"]


def test_promiscuous_on_purpose():
    (found,) = outcome(eth0=dataclasses.replace(ETH0, flags=0x1103)).findings

    assert (found.subject, found.severity) == ("eth0", Severity.LOW)
    assert found.fixes[0].commands == ("ip link set dev eth0 promisc off",)


@pytest.mark.parametrize(
    "sockets",
    [
        (),
        (tap(protocol=0x88CC),),
        (tap(protocol=0x0806),),
        (tap(running=False),),
        (tap(1),),
        (tap(9),),
    ],
)
def test_nothing_taps(sockets):
    assert outcome(*sockets).status is Status.PASSED


def test_a_bridges_port_is_promiscuous_by_its_bridge():
    port = dataclasses.replace(ETH0, flags=0x1103, master="br0")

    assert outcome(eth0=port).status is Status.PASSED


def test_a_dhcp_clients_socket_is_filtered():
    found = outcome(tap(), processes=(program("dhclient"),))

    assert found.status is Status.INCONCLUSIVE
    assert "dhclient" in found.reason


def test_a_dhcp_client_is_not_promiscuous():
    eth0 = dataclasses.replace(ETH0, flags=0x1103)
    (found,) = outcome(tap(), eth0=eth0, processes=(program("dhclient"),)).findings

    assert found.severity is Severity.MEDIUM


def test_missing_sources():
    assert outcome(tap(), processes=None).status is Status.INCONCLUSIVE
    assert outcome(tap(), packet=None).status is Status.SKIPPED
    assert outcome(tap(), interfaces=None).status is Status.SKIPPED
    assert outcome(tap(), services=()).status is Status.NOT_APPLICABLE
