import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.cpu.clocksource import clocksource
from dirtune.collect.log_messages import LogLine
from dirtune.snapshot import Snapshot
from tests.checks.cpu.hosts import GUEST, METAL, power


class TestClocksource:
    def outcome(self, current, *offered, cpuinfo=METAL, **fields):
        told = power(clocksource=current, clocksources=offered)
        return run((clocksource,), Snapshot(cpu_power=told, cpuinfo=cpuinfo, **fields))[0]

    @pytest.mark.parametrize("current", ["hpet", "acpi_pm"])
    def test_a_slow_device(self, current):
        (found,) = self.outcome(current, "tsc", "hpet", "acpi_pm").findings

        assert (found.subject, found.severity) == (current, Severity.MEDIUM)
        (fix,) = found.fixes
        assert fix.commands == (
            "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource",
        )

    def test_a_counter_that_is_not_offered(self):
        log = (LogLine(2.0, "tsc: Marking TSC unstable due to clocksource watchdog"),)
        (found,) = self.outcome("hpet", "hpet", "acpi_pm", kernel_log=log).findings

        assert found.evidence["log"] == ["tsc: Marking TSC unstable due to clocksource watchdog"]
        assert [(fix.id, fix.commands) for fix in found.fixes] == [("find-tsc-fault", ())]

    @pytest.mark.parametrize("current", ["tsc", "kvm-clock", "xen", "arch_sys_counter"])
    def test_it_stays_quiet(self, current):
        assert self.outcome(current, "tsc").status is Status.PASSED

    def test_an_unsteady_counter_is_no_better(self):
        assert self.outcome("hpet", "tsc", cpuinfo=GUEST).status is Status.PASSED

    def test_unknown_leaves_it_open(self):
        assert self.outcome("hpet", "tsc", cpuinfo=None).status is Status.INCONCLUSIVE
        assert self.outcome(None).status is Status.INCONCLUSIVE
