import dataclasses

import pytest

from dirtune.checks import Severity, Status
from dirtune.checks.link.pcie_narrow import pcie_narrow
from dirtune.collect.pci import Link, PciDevice
from tests.checks.link.hosts import GUEST, METAL, judged, port


def slot(gt, width, *, most=(8.0, 8), function=0, nets=("eth0",), **fields):
    known = {"driver": "ixgbe", "link": Link(gt, width), "link_max": Link(*most), "pcie": True}
    return PciDevice(f"0000:3b:00.{function}", 0x020000, nets=nets, **(known | fields))


def narrow(*devices, ports=None, **fields):
    return judged(
        pcie_narrow, *(ports or (port(),)), **({"pci": devices, "cpuinfo": METAL} | fields)
    )


@pytest.mark.parametrize(
    ("gt", "width", "severity"),
    [(8.0, 1, Severity.HIGH), (5.0, 2, Severity.HIGH), (2.5, 5, Severity.MEDIUM)],
)
def test_a_narrow_slot(gt, width, severity):
    (found,) = narrow(slot(gt, width)).findings

    assert (found.subject, found.severity) == ("eth0", severity)
    assert (found.evidence["width"], found.evidence["gt_per_s"]) == (width, gt)
    assert (found.evidence["width_max"], found.evidence["gt_per_s_max"]) == (8, 8.0)
    assert found.evidence["ports_gbps"] == 10.0


def test_ports_of_one_card_share_the_slot():
    devices = (slot(8.0, 2), slot(8.0, 2, function=1, nets=("eth1",)))
    (found,) = narrow(*devices, ports=(port(), port("eth1"))).findings

    assert (found.subject, found.evidence["ports_gbps"]) == ("eth0, eth1", 20.0)
    assert found.evidence["usable_gbps"] == 15.8


def test_a_slower_slot_under_load():
    now = port(counters={"rx_packets": 10_000})
    (found,) = narrow(slot(2.5, 4, most=(8.0, 4)), ports=(now,), before=(port(),)).findings

    assert found.evidence["usable_gbps"] == 8.0


@pytest.mark.parametrize(
    "fields", [{}, {"ports": (port(counters={"rx_packets": 9_999}),), "before": (port(),)}]
)
def test_a_slower_slot_may_save_power(fields):
    assert narrow(slot(2.5, 4, most=(8.0, 4)), **fields).status is Status.INCONCLUSIVE


@pytest.mark.parametrize(
    "device",
    [
        slot(8.0, 8),
        slot(8.0, 2),
        slot(8.0, 1, link=None),
        slot(8.0, 1, nets=()),
        slot(8.0, 1, driver="virtio-pci"),
    ],
)
def test_a_slot_that_is_enough(device):
    assert narrow(device).status is Status.PASSED


def test_slots_of_guests_and_ports_without_a_speed():
    assert narrow(slot(8.0, 1), cpuinfo=GUEST).status is Status.NOT_APPLICABLE
    assert narrow(slot(8.0, 1), ports=(port(speed=None),)).status is Status.INCONCLUSIVE
    assert narrow(slot(8.0, 1), pci=None).status is Status.SKIPPED


def test_an_address_is_looked_at_as_a_whole():
    others = dataclasses.replace(slot(8.0, 1, nets=("eth1",)), address="0000:3c:00.0")
    found = narrow(slot(8.0, 8), others, ports=(port(), port("eth1")))

    assert [f.subject for f in found.findings] == ["eth1"]
