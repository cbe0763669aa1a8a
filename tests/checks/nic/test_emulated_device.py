import dataclasses

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.nic.emulated_device import emulated_device
from dirtune.collect.cpuinfo import CpuInfo
from tests.checks.samples import interface, two

GUEST = CpuInfo("QEMU", frozenset({"hypervisor"}))


def port(name="eth0", driver="e1000", **fields):
    return interface(name, packets=10**8, driver=driver, **fields)


def outcome(*ports, pps=10_000, **fields):
    taken = two(pps=pps, **{"interfaces": ports or (port(),), "cpuinfo": GUEST} | fields)
    return run((emulated_device,), taken)[0]


@pytest.mark.parametrize(
    ("pps", "severity"), [(1_000, Severity.LOW), (9_999, Severity.LOW), (10_000, Severity.HIGH)]
)
def test_an_emulated_card(pps, severity):
    (found,) = outcome(pps=pps).findings

    assert (found.subject, found.severity) == ("eth0", severity)
    assert found.evidence == {"driver": "e1000", "packets_per_second": pps}
    assert [(f.id, f.risk, f.commands) for f in found.fixes] == [
        ("use-paravirtual-card", "reboot", ())
    ]


def test_sent_packets_count_too():
    now = dataclasses.replace(port(), tx_packets=200_000)
    (found,) = outcome(now, earlier={"interfaces": (port(),)}).findings

    assert found.evidence["packets_per_second"] == 20_000


@pytest.mark.parametrize("driver", ["e1000e", "8139cp", "8139too", "pcnet32", "ne2k-pci", "tulip"])
def test_drivers_of_emulated_cards(driver):
    assert outcome(port(driver=driver)).status is Status.FINDING


@pytest.mark.parametrize(
    ("ports", "fields"),
    [
        ((port(),), {"cpuinfo": CpuInfo("Xeon", frozenset({"sse"}))}),
        ((port(driver="virtio_net"),), {}),
        ((port(driver="hv_netvsc"),), {}),
        ((port(driver="igb"),), {}),
        ((port(driver="virtio_net"), port("eth1", operstate="down")), {}),
        ((port(driver="virtio_net"), port("br0", physical=False)), {}),
    ],
)
def test_what_is_well(ports, fields):
    assert outcome(*ports, **fields).status is Status.PASSED


def test_a_card_without_traffic_is_left():
    quiet = port("eth1")
    busy = port(driver="virtio_net")
    then = (dataclasses.replace(busy, rx_packets=0), quiet)

    assert outcome(busy, quiet, earlier={"interfaces": then}).status is Status.PASSED


@pytest.mark.parametrize(
    ("ports", "fields"),
    [
        ((port(),), {"cpuinfo": CpuInfo("ARM", None)}),
        ((port(driver=None),), {}),
        ((port(),), {"pps": 10}),
    ],
)
def test_what_is_not_known(ports, fields):
    assert outcome(*ports, **fields).status is Status.INCONCLUSIVE


def test_a_card_that_came_between_the_samples_is_left_open():
    busy = port(driver="virtio_net")
    then = (dataclasses.replace(busy, rx_packets=0),)
    found = outcome(busy, port("eth1"), earlier={"interfaces": then})

    assert "eth1" in found.reason


def test_what_it_takes():
    assert outcome(cpuinfo=None).status is Status.SKIPPED
