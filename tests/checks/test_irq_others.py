"""irq/xtpic-mode, wasted-isr, threaded-shared, nics-share-line and msi-off."""

import dataclasses

import pytest
from msgspec.structs import replace

from dirtune.checks import Severity, Status, run
from dirtune.checks.irq.msi_off import msi_off
from dirtune.checks.irq.nics_share_line import nics_share_line
from dirtune.checks.irq.threaded_shared import threaded_shared
from dirtune.checks.irq.wasted_isr import wasted_isr
from dirtune.checks.irq.xtpic_mode import xtpic_mode
from dirtune.collect.cpuinfo import CpuInfo
from dirtune.collect.ip_vs import Stats
from dirtune.collect.irq_threads import IrqThread
from dirtune.collect.kernel import Kernel
from dirtune.collect.pci import PciDevice
from dirtune.collect.stat import parse_stat
from dirtune.snapshot import Snapshot
from tests.checks.machines import CARD, SHARED, at_rate, host, line, table, window

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


def probed(*handlers, **options):
    return dataclasses.replace(host(SHARED), handlers=window(*handlers, **options))


class TestWastedIsr:
    @pytest.mark.parametrize(
        ("needless", "own", "wanted"),
        [
            # 5,000 calls in 20 s: 200 us each are 5 % of a CPU, 20 us are 0.5 %, 19 us are not.
            (200_000, 200_000, Severity.CRITICAL),
            (20_000, 900_000, Severity.HIGH),
            (19_000, 900_000, Severity.INFO),
            # 100 of 1,000 ns is a tenth of the line's time, 100 of 1,001 is not.
            (100, 900, Severity.HIGH),
            (100, 901, Severity.INFO),
        ],
    )
    def test_cpu_and_share_of_the_line_decide(self, needless, own, wanted):
        snapshot = probed(("enp0s16", 5000, 0, own), ("sym53c8xx", 5000, 5000, needless))

        assert severity(wasted_isr, snapshot) is wanted

    def test_it_hangs_on_the_shared_line(self):
        (found,) = outcome(
            wasted_isr, probed(("enp0s16", 2000, 0, 900), ("sym53c8xx", 2000, 1990, 1000))
        ).findings

        assert found.cause == "irq/shared-with-nic"
        assert found.evidence["irq"] == "10"
        assert found.evidence["handlers"][1]["irq_none"] == 1990

    def test_few_calls_and_threads_decide_nothing(self):
        few = probed(("enp0s16", 999, 0, 900), ("sym53c8xx", 999, 999, 1000))
        calls = window(("enp0s16", 2000, 0, 900), ("sym53c8xx", 2000, 0, 1000))
        woken = tuple(replace(handler, wake_thread=2000) for handler in calls.handlers)
        threaded = dataclasses.replace(host(SHARED), handlers=replace(calls, handlers=woken))

        assert "999 calls" in outcome(wasted_isr, few).reason
        assert "threads" in outcome(wasted_isr, threaded).reason

    def test_under_load_it_says_what_separating_should_bring(self):
        # 10 s apart: 4 s of CPU for 2,000 connections are 2,000 us each. The probe's 5 s have
        # 1,000 of them, and 2,000 needless calls of 50 us: 100 us each, a twentieth.
        def at(seconds, idle, connections):
            text = f"cpu 0 0 0 {idle} 0 0 0 0 0 0\ncpu0 0 0 0 {idle} 0 0 0 0 0 0\n"
            stats = Stats(connections, 0, 0, 0, 0)
            return {"taken_s": seconds, "stat": parse_stat(text), "ip_vs_stats": stats}

        found = dataclasses.replace(
            probed(("enp0s16", 2000, 0, 900), ("sym53c8xx", 2000, 2000, 50_000), seconds=5.0),
            **at(20.0, 1600, 5000),
        )
        before = dataclasses.replace(host(SHARED), **at(10.0, 1000, 3000))
        (told,) = outcome(wasted_isr, dataclasses.replace(found, earlier=before)).findings

        forecast = told.evidence["forecast"]
        assert forecast["ratio"] == pytest.approx(0.95)
        assert forecast["wasted_us_per_connection"] == pytest.approx(100)
        assert "should take 5.0 % (4.8 to 5.2) off the CPU time of a connection" in told.message

    def test_without_connections_there_is_no_forecast(self):
        found = outcome(
            wasted_isr, probed(("enp0s16", 2000, 0, 900), ("sym53c8xx", 2000, 1990, 1000))
        ).findings[0]

        assert found.evidence["forecast"] is None
        assert "should take" not in found.message

    def test_a_line_of_its_own_may_return_irq_none(self):
        alone = dataclasses.replace(
            host("IO-APIC  20-fasteoi   enp0s16"), handlers=window(("enp0s16", 5000, 400, 9000))
        )

        assert outcome(wasted_isr, alone).status is Status.PASSED

    def test_unprobed_it_is_skipped_with_the_remedy(self):
        assert "--probe" in outcome(wasted_isr, host(SHARED)).reason


class TestThreadedShared:
    THREADS = (IrqThread(125, 10, "sym53c8xx"), IrqThread(134, 10, "enp0s16"))

    @pytest.mark.parametrize(
        "fields",
        [{"cmdline": ("threadirqs",)}, {"irq_threads": THREADS}],
        ids=["option", "threads"],
    )
    def test_forced_threads_on_a_shared_line(self, fields):
        assert severity(threaded_shared, host(SHARED, **fields)) is Severity.MEDIUM

    def test_a_realtime_kernel(self):
        kernel = Kernel("lb1", "6.1.0-56-rt-amd64", "#1 SMP PREEMPT_RT Debian 6.1.192-1")

        found = dataclasses.replace(host(SHARED), kernel=kernel)
        assert severity(threaded_shared, found) is Severity.MEDIUM

    def test_it_stays_quiet(self):
        one = host(SHARED, irq_threads=self.THREADS[:1])
        alone = host("IO-APIC  20-fasteoi   enp0s16", cmdline=("threadirqs",))

        assert outcome(threaded_shared, one).status is Status.PASSED
        assert outcome(threaded_shared, alone).status is Status.PASSED

    def test_a_table_alone_does_not_tell(self):
        snapshot = Snapshot(interrupts=line("IO-APIC-level  aic7xxx, eth0"))

        assert outcome(threaded_shared, snapshot).status is Status.INCONCLUSIVE


class TestNicsShareLine:
    OTHER = PciDevice("0000:00:11.0", 0x020000, "e1000", 10, nets=("enp0s17",))

    def two(self):
        return host("IO-APIC  20-fasteoi   enp0s16, enp0s17", pci=(CARD, self.OTHER))

    def test_two_busy_cards(self):
        assert severity(nics_share_line, at_rate(self.two(), 100, packets=500)) is Severity.HIGH

    def test_one_busy_card_is_medium(self):
        busy = at_rate(self.two(), 100, packets=1000)
        idle = dataclasses.replace(busy.earlier.interfaces[1], rx_packets=10**6)
        earlier = dataclasses.replace(busy.earlier, interfaces=(busy.earlier.interfaces[0], idle))

        found = dataclasses.replace(busy, earlier=earlier)
        assert severity(nics_share_line, found) is Severity.MEDIUM

    def test_idle_or_one_sample_is_undecided(self):
        assert "idle" in outcome(nics_share_line, at_rate(self.two(), 1, packets=499)).reason
        assert "one sample" in outcome(nics_share_line, self.two()).reason

    def test_a_card_and_a_disk_are_not_two_cards(self):
        assert outcome(nics_share_line, host(SHARED)).status is Status.PASSED


class TestMsiOff:
    ABLE = PciDevice("0000:00:02.0", 0x060400, "pcieport", 11, pcie=True)

    def test_the_option_on_a_host_that_could(self):
        (found,) = outcome(
            msi_off, host(SHARED, pci=(self.ABLE,), cmdline=("pci=noaer,nomsi",))
        ).findings

        assert found.severity is Severity.HIGH
        assert [fix.id for fix in found.fixes] == ["drop-nomsi"]

    def test_no_vector_at_all_without_the_option(self):
        (found,) = outcome(msi_off, host(SHARED, pci=(self.ABLE,))).findings

        assert found.fixes == ()

    @pytest.mark.parametrize(
        "snapshot",
        [
            host(SHARED, cmdline=("pci=nomsi",)),
            host(SHARED, pci=(dataclasses.replace(ABLE, msi_irqs=(24,)),)),
            host(
                SHARED,
                pci=(dataclasses.replace(ABLE, msi_irqs=(24,)),),
                cmdline=("pcie_pme=nomsi",),
            ),
        ],
        ids=["nothing could", "in use", "port services only"],
    )
    def test_it_stays_quiet(self, snapshot):
        assert outcome(msi_off, snapshot).status is Status.PASSED

    def test_xen_guests_have_event_channels(self):
        xen = host("xen-pirq    -ioapic-level  eth0", pci=(self.ABLE,), cmdline=("pci=nomsi",))

        assert outcome(msi_off, xen).status is Status.NOT_APPLICABLE

    def test_without_the_list_of_devices_it_is_undecided(self):
        found = outcome(msi_off, host(SHARED, pci=None, cmdline=("pci=nomsi",)))

        assert found.status is Status.INCONCLUSIVE
