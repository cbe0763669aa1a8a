import dataclasses

import pytest

from dirtune.change.fixes import Question
from dirtune.change.fixes.unbind_partners import FIX
from dirtune.checks import Severity, Status, run
from dirtune.checks.irq.shared_with_nic import shared_with_nic
from dirtune.collect.cpuinfo import CpuInfo
from dirtune.collect.interrupts import parse_interrupts
from dirtune.collect.mounts import Mount
from dirtune.collect.pci import Block, PciDevice
from dirtune.snapshot import Snapshot
from tests.checks.machines import (
    CARD,
    DISK,
    SHARED,
    SMBUS,
    USB,
    at_rate,
    host,
    line,
    table,
    window,
)


def outcome(snapshot):
    return run((shared_with_nic,), snapshot)[0]


def only(snapshot):
    (finding,) = outcome(snapshot).findings
    return finding


def test_it_names_the_line_its_actions_and_the_partners():
    found = only(at_rate(host(SHARED), 200))

    assert found.subject == "irq 10"
    assert found.evidence["irq"] == "10"
    assert found.evidence["actions"] == ["i801_smbus", "sym53c8xx", "enp0s16"]
    assert [p["pci"] for p in found.evidence["partners"]] == ["0000:00:1f.3", "0000:00:14.0"]
    assert found.message.startswith("enp0s16 shares irq 10 with i801_smbus (SMBus) and sym53c8xx")
    # 200 interrupts/s x 2 partners x 1 us = 0.0004 s/s
    assert "0.04 % of a CPU" in found.message


@pytest.mark.parametrize(
    ("per_second", "severity"), [(999, Severity.MEDIUM), (1000, Severity.HIGH)]
)
def test_a_known_rate_decides(per_second, severity):
    assert only(at_rate(host(SHARED), per_second)).severity is severity


def test_an_unknown_rate_is_high():
    assert only(host(SHARED)).severity is Severity.HIGH


# 2940 needless calls of 42.1 us and as many of 13.4 us in 20 s are 0.163 s: 0.82 % of a CPU.
DEAR = window(("enp0s16", 2942, 0, 11900), ("sym53c8xx", 2940, 2940, 13400),
              ("i801_smbus", 2940, 2940, 42100))  # fmt: skip
CHEAP = window(("enp0s16", 2942, 0, 11900), ("sym53c8xx", 2940, 2940, 1000))


def test_measured_waste_is_high_at_half_a_per_cent_and_said_in_words():
    found = only(dataclasses.replace(at_rate(host(SHARED), 147), handlers=DEAR))

    assert found.severity is Severity.HIGH
    assert found.evidence["wasted_cpu_percent"] == 0.816
    assert found.evidence["irq_none"] == 5880


def test_little_measured_waste_on_a_quiet_line_is_medium():
    found = only(dataclasses.replace(at_rate(host(SHARED), 147), handlers=CHEAP))

    assert found.severity is Severity.MEDIUM


def test_the_probes_window_tells_the_rate_where_there_is_one_sample():
    assert only(dataclasses.replace(host(SHARED), handlers=CHEAP)).severity is Severity.MEDIUM


def test_idle_usb_and_smbus_partners_are_low_when_the_rate_is_known_to_be_low():
    tail = "IO-APIC  20-fasteoi   ehci_hcd:usb1, i801_smbus, enp0s16"
    idle = host(tail, pci=(CARD, USB, SMBUS))
    busy = host(tail, pci=(CARD, dataclasses.replace(USB, usb=("1-2",)), SMBUS))

    assert only(at_rate(idle, 10)).severity is Severity.LOW
    assert only(at_rate(busy, 10)).severity is Severity.MEDIUM
    assert only(idle).severity is Severity.HIGH


def test_a_second_card_is_a_partner():
    other = PciDevice("0000:00:11.0", 0x020000, "e1000", 10, nets=("enp0s17",))
    found = only(host("IO-APIC  20-fasteoi   enp0s16, enp0s17", pci=(CARD, other)))

    assert [p["kind"] for p in found.evidence["partners"]] == ["NIC"]


@pytest.mark.parametrize(
    "interrupts",
    [
        line("IO-APIC  20-fasteoi   enp0s16"),
        line("IO-APIC  20-fasteoi   sym53c8xx, i801_smbus"),
        line("PCI-MSI 49152-edge      PCIe PME, aerdrv, pciehp"),
        line("PCI-MSIX-0000:00:03.0   0-edge      eth0, nvme0q0"),
        line("IO-APIC   9-fasteoi   acpi"),
        table(" 10: 1  IO-APIC 10-fasteoi  eth2, aic7xxx", " 28: 9  PCI-MSI 1-edge  eth2-rx-0"),
    ],
    ids=["alone", "no card", "port services", "one device's message", "acpi", "link vector"],
)
def test_it_stays_quiet(interrupts):
    assert outcome(Snapshot(interrupts=interrupts)).status is Status.PASSED


def test_one_device_that_registers_twice_shares_with_itself():
    tail = "IO-APIC  20-fasteoi   enp0s16, e1000"

    assert outcome(host(tail)).status is Status.PASSED


def test_ibm_z_has_no_lines():
    table = parse_interrupts("  CPU0\nEXT: 1\nI/O: 2\nAIO: 3\n")

    assert outcome(Snapshot(interrupts=table)).status is Status.NOT_APPLICABLE


def test_a_bare_virtio_device_leaves_it_open_until_sysfs_tells():
    tail = "IO-APIC  10-fasteoi   uhci_hcd:usb1, virtio1"
    card = PciDevice("0000:00:02.0", 0x020000, "virtio-pci", 10, virtio=("virtio1",))

    assert outcome(Snapshot(interrupts=line(tail))).status is Status.INCONCLUSIVE
    assert only(Snapshot(interrupts=line(tail), pci=(card,))).severity is Severity.HIGH


def test_an_unrelated_line_changes_nothing():
    alone = only(Snapshot(interrupts=line("IO-APIC-level  aic7xxx, eth0")))
    rows = (" 9: 7  IO-APIC-level  ide0, acpi", " 10: 40  IO-APIC-level  aic7xxx, eth0")

    assert only(Snapshot(interrupts=table(*rows))) == alone


def fixes(snapshot):
    return {fix.id: fix for fix in only(snapshot).fixes}


def test_idle_partners_can_be_unbound_and_each_is_named():
    assert fixes(host(SHARED))["unbind-partners"].commands == (
        "echo 0000:00:1f.3 > /sys/bus/pci/drivers/i801_smbus/unbind",
        "echo 0000:00:14.0 > /sys/bus/pci/drivers/sym53c8xx/unbind",
    )


def test_a_partner_with_a_mounted_file_system_is_not_offered():
    root = dataclasses.replace(DISK, blocks=(Block("sda1", "8:1"),))
    mounts = (Mount("8:1", "/", "ext4", "/dev/sda1"),)

    found = fixes(host(SHARED, pci=(CARD, root, SMBUS), mounts=mounts))["unbind-partners"]
    assert found.commands == ("echo 0000:00:1f.3 > /sys/bus/pci/drivers/i801_smbus/unbind",)


def test_a_guests_emulated_card_is_better_replaced():
    guest = CpuInfo(None, frozenset({"hypervisor"}))

    assert "use-paravirtual-card" in fixes(host(SHARED, cpuinfo=guest))
    assert "use-paravirtual-card" not in fixes(host(SHARED, cpuinfo=CpuInfo(None, frozenset())))


def test_the_boot_options_are_the_cause_where_they_are():
    pic = host("XT-PIC      i801_smbus, sym53c8xx, enp0s16", cmdline=("noapic",))
    card = dataclasses.replace(CARD, pcie=True)
    nomsi = host(SHARED, pci=(card, DISK, SMBUS), cmdline=("pci=nomsi",))

    assert only(pic).cause == "irq/xtpic-mode"
    assert "drop-noapic" in fixes(pic)
    assert only(nomsi).cause == "irq/msi-off"
    assert only(host(SHARED)).cause is None


_PARTNERS = {
    "idle": DISK,
    "display": dataclasses.replace(DISK, class_code=0x030000),
    "serial": dataclasses.replace(DISK, class_code=0x070002),
    "virtio": dataclasses.replace(DISK, virtio=("virtio3",)),
    "mounted": dataclasses.replace(DISK, blocks=(Block("sda1", "8:1"),)),
    "keyboard": dataclasses.replace(DISK, inputs=("input3",)),
    "card without an interface": dataclasses.replace(DISK, class_code=0x020000),
}
_ROOT = Mount("8:1", "/", "ext4", "/dev/sda1")


@pytest.mark.parametrize("twins", [False, True], ids=["one function", "two functions"])
@pytest.mark.parametrize("partner", _PARTNERS.values(), ids=_PARTNERS)
def test_the_audit_advises_to_unbind_what_the_fix_unbinds_and_nothing_else(partner, twins):
    twin = dataclasses.replace(partner, address="0000:00:14.1")
    pci = (CARD, partner, SMBUS, *((twin,) if twins else ()))
    snapshot = host(SHARED, pci=pci, mounts=(_ROOT,))
    changes = FIX.plan(Question(snapshot)).changes

    advised = {command.split()[1] for command in fixes(snapshot)["unbind-partners"].commands}
    assert advised == {change.action.device for change in changes}
    assert advised == (
        {"0000:00:1f.3", DISK.address} if (partner, twins) == (DISK, False) else {"0000:00:1f.3"}
    )
