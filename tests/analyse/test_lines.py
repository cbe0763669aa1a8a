"""Who is on a line: names against the index of real dumps, devices against sysfs."""

import dataclasses
import json

import pytest

from dirtune.analyse.lines import (
    Names,
    data_vector,
    in_use,
    nic_action,
    nic_line,
    on_msi,
    pic,
    sharers,
)
from dirtune.collect.interrupts import Interrupts, Line, parse_interrupts
from dirtune.collect.mounts import Mount
from dirtune.collect.pci import Block, PciDevice
from dirtune.errors import ParseError
from tests.real import FIXTURES, index, text_of

CARD = PciDevice("0000:00:10.0", 0x020000, "e1000", 10, nets=("enp0s16",))
DISKS = (
    PciDevice("0000:00:14.0", 0x010000, "sym53c8xx", 10),
    PciDevice("0000:00:18.0", 0x010000, "sym53c8xx", 10),
)
SMBUS = PciDevice("0000:00:1f.3", 0x0C0500, "i801_smbus", 10)
USB = PciDevice("0000:00:1d.7", 0x0C0320, "ehci-pci", 10, usb_buses=("usb2",))


@pytest.mark.skipif(not FIXTURES.exists(), reason="the collection of real dumps is not here")
@pytest.mark.parametrize("row", index(), ids=lambda row: row["path"].split("/")[-1])
def test_cards_on_shared_lines_equal_what_was_read_by_hand(row):
    try:
        table = parse_interrupts(text_of(row))
    except ParseError:
        assert row["mangled"] == "yes"
        return
    found = {line.irq: nic_line(line) for line in table.lines if line.shared}

    assert found == {line["irq"]: line["nic"] for line in json.loads(row["truth"])}


@pytest.mark.parametrize(
    ("action", "nic"),
    [
        ("eth0", True),
        ("enp5s0f4 (queue 0)", True),
        ("i40e-eth0-TxRx-1", True),
        ("mlx5_comp3@pci:0000:3b:00.0", True),
        ("ena-mgmnt@pci:0000:00:05.0", True),
        ("HAPPY MEAL", True),
        ("Intel EtherExpress Pro 10/100 Ethernet", True),
        ("uplink-TxRx-3", True),
        ("uplink-rx-0", None),
        ("mana_q0@pci:7870:00:00.0", True),
        ("mana_hwc@pci:7870:00:00.0", True),
        ("mlx5_pages_eq@pci:0000:3b:00.0", True),
        ("mlx5_cmd_eq@pci:0000:3b:00.0", True),
        ("mlx5_async_eq@pci:0000:3b:00.0", True),
        ("radeon@pci:0000:01:00.0", False),
        ("PCnet/PCI II 79C970A", True),
        ("NE2000", True),
        ("peth0", True),
        ("vif1.0-q0-tx", True),
        ("idpf", True),
        ("txgbe", True),
        ("ngbe", True),
        ("fbnic", True),
        ("mt7925e", True),
        ("ath12k_pci", True),
        ("rtw89_8852be", True),
        ("ehea", True),
        ("fm10k", True),
        ("netxen", True),
        ("vxge", True),
        ("net0", True),
        ("net2280", False),
        ("spi-tx-0", False),
        ("dma-rx-0", False),
        ("xilinx-vdma-tx-0", False),
        ("11010000.serial-rx-1", False),
        ("virtio1-input.0", True),
        ("virtio1-req.0", False),
        ("virtio1", None),
        ("virtio1-config", None),
        ("aic7xxx", False),
        ("ehci_hcd:usb1", False),
        ("1004b800.serial:rx err", False),
        ("ethereal", False),
    ],
)
def test_a_card_is_told_by_its_name(action, nic):
    assert nic_action(action) is nic


def test_an_interface_with_any_name_is_a_card():
    assert nic_action("inside", Names(("inside",))) is True
    assert nic_action("insideout", Names(("inside",))) is False


def test_actions_find_their_functions_and_two_of_one_driver_are_told_apart():
    actions = ("i801_smbus", "sym53c8xx", "sym53c8xx", "ehci_hcd:usb2", "enp0s16")
    line = Line("10", (5,), "IO-APIC", 10, "fasteoi", actions)

    found = sharers(line, (CARD, *DISKS, SMBUS, USB))

    assert [s.kind for s in found] == ["SMBus", "storage", "storage", "USB", "NIC"]
    assert [s.device.address for s in found] == [
        "0000:00:1f.3",
        "0000:00:14.0",
        "0000:00:18.0",
        "0000:00:1d.7",
        "0000:00:10.0",
    ]


def test_sysfs_tells_what_a_bare_virtio_device_is():
    line = Line("10", (5,), "IO-APIC", 10, "fasteoi", ("virtio1", "virtio2"))
    block = PciDevice("0000:00:01.0", 0x010000, "virtio-pci", 10, virtio=("virtio1",))
    card = PciDevice("0000:00:02.0", 0x020000, "virtio-pci", 10, virtio=("virtio2",))

    assert [s.nic for s in sharers(line, (block, card))] == [False, True]
    assert [s.nic for s in sharers(line)] == [None, None]


def test_a_device_that_uses_msi_is_not_on_the_line_its_irq_file_names():
    line = Line("10", (5,), "IO-APIC", 10, "fasteoi", ("e1000e",))
    card = PciDevice("0000:00:02.0", 0x020000, "e1000e", 10, msi_irqs=(26,))

    assert sharers(line, (card,))[0].device is None


def test_a_bare_name_beside_queues_is_the_link_vector():
    table = Interrupts((0,), (Line("28", (1,), actions=("eth2-rx-0",)),))

    assert not data_vector("eth2", table)
    assert data_vector("eth1", table)
    assert not data_vector("ena-mgmnt@pci:0000:00:05.0", table)


@pytest.mark.parametrize(
    ("actions", "data"),
    [
        # vmxnet3_request_irqs(): a vector for each pair of queues, or one for each way.
        (("eth0-rxtx-0", "eth0-rxtx-1", "eth0-event-2"), (True, True, False)),
        (("eth0-tx-0", "eth0-rx-0", "eth0-event-4"), (True, True, False)),
        # e1000_request_msix() of e1000e: the plain name is the link's vector.
        (("eth0-rx-0", "eth0-tx-0", "eth0"), (True, True, False)),
        # e1000e without MSI-X has one vector for everything.
        (("eth0",), (True,)),
        # vp_find_vqs_msix() of virtio, with the names of virtnet_find_vqs().
        (("virtio3-config", "virtio3-input.0", "virtio3-output.0"), (False, True, True)),
    ],
)
def test_the_vectors_of_emulated_nics(actions, data):
    rows = (f"{n}: 9  PCI-MSI {n}-edge  {name}" for n, name in enumerate(actions, 24))
    table = parse_interrupts("\n".join(("CPU0", *rows)))

    assert tuple(data_vector(action, table) for action in actions) == data


def test_a_message_of_xen_is_known_by_its_flow():
    rows = ("58:  7  xen-pirq    -msi-x     eth3-TxRx-0", "16:  7  xen-pirq  16-ioapic-level  a")
    table = parse_interrupts("\n".join((" CPU0", *rows, "")))

    assert [on_msi(line) for line in table.lines] == [True, False]


def test_a_card_of_a_xen_host_shares_its_line():
    (line,) = parse_interrupts(
        " CPU0\n 16:  3240798  Phys-irq-level  uhci_hcd:usb3, libata, peth0\n"
    ).lines

    assert line.shared
    assert nic_line(line) is True


def test_a_row_that_breaks_off_may_have_lost_a_card():
    (line,) = parse_interrupts(" CPU0\n 10:  5  XT-PIC  ahci, aic7xxx").lines

    assert nic_line(line) is None
    assert nic_line(dataclasses.replace(line, actions=("eth0", "ai"))) is True
    assert nic_line(dataclasses.replace(line, cut=False)) is False


def test_the_pic_of_a_mips_board_is_no_fallback():
    assert pic(Line("10", (1,), "XT-PIC", None, None, ("eth0",)))
    assert pic(Line("10", (1,), "XT-PIC", None, "XT", ("eth0",)))
    assert not pic(Line("10", (1,), "XT-PIC", 10, None, ("fddi0",)))


ROOT = Mount("8:1", "/", "ext4", "/dev/sda1")


@pytest.mark.parametrize(
    ("device", "mounts", "swaps", "said"),
    [
        (CARD, (), (), "interface enp0s16"),
        (PciDevice("a", 0x060400), (), (), "bridge"),
        (PciDevice("a", 0x0C0320, usb=("1-2",)), (), (), "USB devices"),
        (PciDevice("a", 0x0C0320, inputs=("input3",)), (), (), "keyboard"),
        (PciDevice("a", 0x010000, blocks=(Block("sda1", "8:1"),)), (ROOT,), (), "file system /"),
        (PciDevice("a", 0x010000, blocks=(Block("sda1"),)), (ROOT,), (), "file system /"),
        (PciDevice("a", 0x010000, blocks=(Block("sda2", "8:2"),)), (), ("/dev/sda2",), "swap"),
        (PciDevice("a", 0x010000, blocks=(Block("sda2", "8:2", ("dm-0",)),)), (), (), "dm-0"),
        (PciDevice("a", 0x010000, blocks=(Block("sda2", "8:2"),)), None, None, "unknown"),
    ],
)
def test_what_must_not_be_unbound(device, mounts, swaps, said):
    assert said in in_use(device, mounts, swaps)


def test_an_idle_controller_may_be_unbound():
    assert in_use(DISKS[0], (ROOT,), ()) is None
    assert in_use(PciDevice("a", 0x010000, blocks=(Block("sdb", "8:16"),)), (ROOT,), ()) is None
