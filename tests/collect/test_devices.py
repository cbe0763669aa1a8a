"""PCI functions, interfaces and mounts of a small recorded host."""

import pytest

from dirtune.collect.mounts import parse_mounts, parse_swaps
from dirtune.collect.net import read_interfaces
from dirtune.collect.pci import Block, read_pci
from dirtune.errors import ParseError, SourceMissing
from dirtune.host import RecordedHost

PCI = "/sys/bus/pci/devices"
TREE = "../../devices/pci0000:00"
HOST = RecordedHost(
    files={
        f"{PCI}/0000:00:10.0/class": "0x020000\n",
        f"{PCI}/0000:00:10.0/irq": "10\n",
        f"{PCI}/0000:00:14.0/class": "0x010000\n",
        f"{PCI}/0000:00:14.0/irq": "10\n",
        f"{PCI}/0000:00:1d.7/class": "0x0c0320\n",
        f"{PCI}/0000:00:1d.7/irq": "10\n",
        f"{PCI}/0000:01:00.0/class": "0x020000\n",
        f"{PCI}/0000:01:00.0/irq": "11\n",
        f"{PCI}/0000:01:00.0/msi_irqs/26": "msix\n",
        f"{PCI}/0000:01:00.0/msi_irqs/27": "msix\n",
        f"{PCI}/0000:01:00.0/current_link_speed": "2.5 GT/s PCIe\n",
        "/sys/class/block/sda1/dev": "8:1\n",
        "/sys/class/net/eth0/statistics/rx_packets": "5\n",
        "/sys/class/net/eth0/statistics/tx_packets": "0\n",
    },
    links={
        "/sys/bus/pci/drivers/e1000/0000:00:10.0": "../../../../devices/pci0000:00/0000:00:10.0",
        f"{PCI}/0000:00:14.0/driver": "../../../bus/pci/drivers/sym53c8xx",
        "/sys/bus/pci/drivers/virtio-pci/0000:01:00.0": "../../../../devices/x/0000:01:00.0",
        "/sys/class/net/eth0": f"{TREE}/0000:00:10.0/net/eth0",
        "/sys/class/net/eth1": f"{TREE}/0000:00:02.0/0000:01:00.0/virtio2/net/eth1",
        "/sys/class/net/lo": "../../devices/virtual/net/lo",
        "/sys/class/block/sda1": f"{TREE}/0000:00:14.0/host2/target2:0:0/2:0:0:0/block/sda/sda1",
        "/sys/class/block/sda1/holders/dm-0": "../../../../../virtual/block/dm-0",
        "/sys/bus/usb/devices/usb1": "../../../devices/0000:00:1d.7/usb1",
        "/sys/bus/usb/devices/1-2": "../../../devices/0000:00:1d.7/usb1/1-2",
        "/sys/bus/usb/devices/1-2:1.0": "../../../devices/0000:00:1d.7/usb1/1-2/1-2:1.0",
        "/sys/bus/virtio/devices/virtio2": "../../../devices/0000:00:02.0/0000:01:00.0/virtio2",
    },
)


def device(address):
    return next(device for device in read_pci(HOST) if device.address == address)


def test_a_bound_function_without_msi_is_on_its_intx_line():
    assert device("0000:00:10.0").driver == "e1000"
    assert device("0000:00:10.0").intx == 10
    assert device("0000:00:10.0").nets == ("eth0",)


def test_the_driver_is_found_by_either_link():
    assert device("0000:00:14.0").driver == "sym53c8xx"


def test_a_function_with_vectors_is_on_no_line_whatever_irq_says():
    card = device("0000:01:00.0")

    assert (card.irq, card.intx, card.msi_irqs) == (11, None, (26, 27))
    assert (card.pcie, card.virtio, card.nets) == (True, ("virtio2",), ("eth1",))


def test_the_bridges_above_a_card_are_known_by_what_hangs_below_it():
    assert device("0000:01:00.0").bridges == ("0000:00:02.0",)
    assert device("0000:00:10.0").bridges == ()


def test_an_unbound_function_listens_on_nothing():
    assert device("0000:00:1d.7").intx is None


def test_what_hangs_below():
    assert device("0000:00:14.0").blocks == (Block("sda1", "8:1", ("dm-0",)),)
    assert device("0000:00:1d.7").usb == ("1-2",)
    assert device("0000:00:1d.7").usb_buses == ("usb1",)


def test_interfaces_know_their_function_and_virtual_ones_have_none():
    found = {interface.name: interface for interface in read_interfaces(HOST)}

    assert (found["eth0"].pci, found["eth0"].rx_packets, found["eth0"].tx_packets) == (
        "0000:00:10.0",
        5,
        0,
    )
    assert (found["eth1"].pci, found["eth1"].virtio) == ("0000:01:00.0", "virtio2")
    assert found["eth1"].rx_packets is None
    assert (found["lo"].physical, found["lo"].pci) == (False, None)


def test_no_bus_is_missing_and_not_empty():
    with pytest.raises(SourceMissing):
        read_pci(RecordedHost({}, {}))


def test_mounts_are_counted_from_both_ends_of_the_dash():
    text = "29 1 8:1 / / rw,relatime shared:1 master:2 - ext4 /dev/sda1 rw\n"

    (mount,) = parse_mounts(text)
    assert (mount.dev, mount.target, mount.fstype, mount.source) == (
        "8:1",
        "/",
        "ext4",
        "/dev/sda1",
    )
    with pytest.raises(ParseError, match="line 1"):
        parse_mounts("29 1 8:1 /\n")


def test_swaps():
    head = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"

    assert parse_swaps(head) == ()
    assert parse_swaps(f"{head}/dev/sda2   partition  1 0 -2\n") == ("/dev/sda2",)
