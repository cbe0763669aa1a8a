import dataclasses

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.irq.nobody_cared import nobody_cared
from dirtune.collect.interrupts import Interrupts, Line
from dirtune.collect.log_messages import LogLine
from dirtune.snapshot import Snapshot
from tests.checks.machines import SHARED, host, line
from tests.checks.samples import two

CARED = LogLine(80.0, 'irq 10: nobody cared (try booting with the "irqpoll" option)')


OFF = LogLine(80.1, "Disabling IRQ #10")


WIRE = Line("10", (500,), "IO-APIC", 10, "fasteoi", ("ehci_hcd:usb2", "eth0"))


USB = line("IO-APIC  10-fasteoi   ehci_hcd:usb1, uhci_hcd:usb3")


class TestNobodyCared:
    def outcome(self, *log, **fields):
        known = {"interrupts": Interrupts((0,), (WIRE,)), "cmdline": ()} | fields
        return run((nobody_cared,), Snapshot(kernel_log=log, **known))[0]

    @pytest.mark.parametrize("log", [(CARED, OFF), (CARED,), (OFF,)])
    def test_a_line_with_a_card_was_switched_off(self, log):
        (found,) = self.outcome(*log).findings

        assert (found.subject, found.severity) == ("irq 10", Severity.CRITICAL)
        assert found.evidence["irq"] == "10"
        assert found.evidence["actions"] == ["ehci_hcd:usb2", "eth0"]
        assert [(fix.id, fix.commands) for fix in found.fixes] == [("free-line", ())]

    def test_storage_is_as_grave_and_usb_is_not(self):
        storage = dataclasses.replace(host(SHARED), kernel_log=(LogLine(1, "Disabling IRQ #10"),))

        assert run((nobody_cared,), storage)[0].severity is Severity.CRITICAL
        assert self.outcome(CARED, interrupts=USB).severity is Severity.HIGH

    @pytest.mark.parametrize("option", ["irqpoll", "irqfixup"])
    def test_the_options(self, option):
        (found,) = self.outcome(cmdline=("quiet", option)).findings

        assert (found.subject, found.severity) == (option, Severity.HIGH)
        assert found.fixes[0].id == "drop-irqpoll"

    def test_a_line_that_counts_again_was_switched_on(self):
        taken = two(interrupts=Interrupts((0,), (WIRE,)), kernel_log=(CARED,), cmdline=())
        still = dataclasses.replace(
            taken, earlier=dataclasses.replace(taken.earlier, interrupts=taken.interrupts)
        )

        assert run((nobody_cared,), taken)[0].status is Status.PASSED
        assert run((nobody_cared,), still)[0].severity is Severity.CRITICAL

    @pytest.mark.parametrize(
        "fields",
        [
            {"interrupts": Interrupts((0,), (dataclasses.replace(WIRE, actions=()),))},
            {"interrupts": Interrupts((0,), ())},
        ],
        ids=["no handlers", "no line"],
    )
    def test_a_line_without_handlers_is_left_alone(self, fields):
        assert self.outcome(CARED, **fields).status is Status.PASSED

    def test_another_message(self):
        assert self.outcome(LogLine(1, "irq 10: Affinity broken")).status is Status.PASSED

    def test_unknown_leaves_it_open(self):
        assert run((nobody_cared,), Snapshot(cmdline=()))[0].status is Status.INCONCLUSIVE
        assert run((nobody_cared,), Snapshot())[0].status is Status.SKIPPED
        assert self.outcome(CARED, interrupts=None).status is Status.INCONCLUSIVE
