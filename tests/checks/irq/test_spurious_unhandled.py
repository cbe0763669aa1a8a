import dataclasses

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.irq.spurious_unhandled import spurious_unhandled
from dirtune.collect.interrupts import Interrupts, Line
from dirtune.collect.pci import PciDevice
from dirtune.snapshot import Snapshot
from tests.checks.samples import placed, two

WIRE = Line("10", (500,), "IO-APIC", 10, "fasteoi", ("ehci_hcd:usb2", "eth0"))


class TestSpuriousUnhandled:
    def outcome(self, then, now, wire=WIRE, **fields):
        return run(
            (spurious_unhandled,),
            two(
                interrupts=Interrupts((0,), (wire,)),
                proc_irq={"10": placed([0], unhandled=now)},
                earlier={"proc_irq": {"10": placed([0], unhandled=then)}},
                **fields,
            ),
        )[0]

    def test_it_rises(self):
        silent = PciDevice("0000:00:1f.3", 0x0C0500, None, 10)
        (found,) = self.outcome(99, 100, pci=(silent,)).findings

        assert (found.subject, found.severity) == ("irq 10", Severity.MEDIUM)
        assert found.evidence == {
            "irq": "10",
            "unhandled": 100,
            "risen": 1,
            "without_driver": ["0000:00:1f.3"],
        }
        assert [fix.commands for fix in found.fixes] == [()]

    @pytest.mark.parametrize(
        ("then", "now", "wire"),
        [
            (98, 99, WIRE),
            (500, 500, WIRE),
            (99_000, 200, WIRE),
            (0, 500, dataclasses.replace(WIRE, actions=("ttyS0",))),
            (0, 500, dataclasses.replace(WIRE, chip="PCI-MSI", actions=("eth0",))),
        ],
        ids=["few", "not rising", "began again", "serial port", "msi"],
    )
    def test_it_stays_quiet(self, then, now, wire):
        assert self.outcome(then, now, wire).status is Status.PASSED

    @pytest.mark.parametrize(("label", "risen"), [("ERR", 10), ("MIS", 10)])
    def test_rows_of_the_architecture(self, label, risen):
        def seen(n):
            return two(interrupts=Interrupts((0,), (Line(label, (n,)),)), proc_irq={})

        (found,) = run((spurious_unhandled,), seen(risen))[0].findings
        assert (found.subject, found.severity) == (label, Severity.MEDIUM)
        assert found.evidence == {"row": label, "risen": risen, "seconds": 10.0}
        assert run((spurious_unhandled,), seen(risen - 1))[0].status is Status.PASSED

    def test_unknown_leaves_it_open(self):
        alone = Snapshot(interrupts=Interrupts((0,), (WIRE,)), proc_irq={})
        no_proc = two(interrupts=Interrupts((0,), (WIRE,)))

        assert run((spurious_unhandled,), alone)[0].status is Status.INCONCLUSIVE
        assert run((spurious_unhandled,), no_proc)[0].status is Status.INCONCLUSIVE
