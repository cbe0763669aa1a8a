import dataclasses

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.irq.xtpic_mode import xtpic_mode
from dirtune.collect.cpuinfo import CpuInfo
from dirtune.snapshot import Snapshot
from tests.checks.machines import at_rate, host, line, table

PIC = "XT-PIC      i801_smbus, sym53c8xx, enp0s16"


GUEST = CpuInfo("QEMU", frozenset({"hypervisor"}))


def outcome(check, snapshot):
    return run((check,), snapshot)[0]


def severity(check, snapshot):
    (finding,) = outcome(check, snapshot).findings
    return finding.severity


class TestXtPicMode:
    def test_the_option_is_named_and_dropped(self):
        (found,) = outcome(xtpic_mode, host(PIC, cmdline=("quiet", "noapic"))).findings

        assert found.evidence["irqs"] == ["10"]
        assert found.evidence["options"] == ["noapic"]
        assert [(fix.id, fix.risk) for fix in found.fixes] == [("drop-noapic", "reboot")]

    def test_without_an_option_it_is_the_firmwares(self):
        (found,) = outcome(xtpic_mode, host(PIC)).findings

        assert [fix.id for fix in found.fixes] == ["enable-ioapic"]

    @pytest.mark.parametrize(
        ("cpus", "per_second", "wanted"),
        [(2, 1000, Severity.CRITICAL), (2, 999, Severity.HIGH), (1, 5000, Severity.HIGH)],
    )
    def test_it_is_critical_on_several_busy_cpus(self, cpus, per_second, wanted):
        snapshot = dataclasses.replace(host(PIC), interrupts=line(PIC, cpus=cpus))

        assert severity(xtpic_mode, at_rate(snapshot, per_second)) is wanted

    def test_a_host_whose_cards_are_not_in_the_table_is_no_host_with_msi(self):
        assert (
            severity(xtpic_mode, Snapshot(interrupts=line("XT-PIC  sym53c8xx"))) is Severity.HIGH
        )

    def test_it_is_medium_when_every_card_uses_msi(self):
        rows = (" 10: 5  XT-PIC  sym53c8xx", " 24: 5  PCI-MSI 1-edge  eth0")

        assert severity(xtpic_mode, Snapshot(interrupts=table(*rows))) is Severity.MEDIUM

    @pytest.mark.parametrize(
        "snapshot",
        [
            Snapshot(interrupts=table(
                "  0: 5  XT-PIC  timer", "  2: 0  XT-PIC  cascade", " 13: 1  XT-PIC  fpu",
                " 19: 7  IO-APIC-level  eth0",
            )),
            # Documentation/filesystems/proc.rst: ISA and PC Card adapters, and nothing on PCI.
            Snapshot(interrupts=table(
                "  0: 8  XT-PIC  timer", "  1: 8  XT-PIC  keyboard", "  2: 0  XT-PIC  cascade",
                "  3: 5  XT-PIC  aha152x", "  4: 2  XT-PIC  serial", "  5: 4  XT-PIC  pcnet_cs",
                "  8: 2  XT-PIC  rtc", " 11: 8  XT-PIC  i82365", " 12: 1  XT-PIC  PS/2 Mouse",
                " 13: 1  XT-PIC  fpu", " 14: 1  XT-PIC  ide0", " 15: 7  XT-PIC  ide1",
            )),
            Snapshot(interrupts=table("  9: 5  XT-PIC  NE2000", " 10: 5  XT-PIC  3c509")),
            Snapshot(interrupts=line("XT-PIC  10  fddi0")),
            dataclasses.replace(host(PIC), cpuinfo=GUEST),
        ],
        ids=["timer and cascade", "ISA and PC Card", "ISA cards", "mips", "guest with one CPU"],
    )  # fmt: skip
    def test_it_stays_quiet(self, snapshot):
        assert outcome(xtpic_mode, snapshot).status is Status.PASSED

    @pytest.mark.parametrize("pci", ["PCnet/PCI II 79C970A", "timer_card", "eth0", "aic7xxx"])
    def test_one_pci_device_beside_those_of_isa_is_enough(self, pci):
        snapshot = Snapshot(interrupts=line(f"XT-PIC  aha152x, {pci}"))

        assert severity(xtpic_mode, snapshot) is Severity.HIGH

    def test_a_guest_with_one_cpu_that_asks_for_it_is_told(self):
        asked = dataclasses.replace(host(PIC, cmdline=("noapic",)), cpuinfo=GUEST)

        assert severity(xtpic_mode, asked) is Severity.HIGH
