import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.cpu.governor import governor
from dirtune.snapshot import Snapshot
from tests.checks.cpu.hosts import GUEST, METAL, ON_0_AND_1, power
from tests.checks.samples import process, stat, two

GOVERNOR = "/sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor"


class TestGovernor:
    def outcome(self, governors, driver="acpi-cpufreq", preferences=None, **fields):
        fields = {"interrupts": ON_0_AND_1, "cpuinfo": METAL} | fields
        known = power(
            governors=dict(enumerate(governors)), driver=driver, preferences=preferences or {}
        )
        return run((governor,), two(cpu_power=known, **fields))[0]

    @pytest.mark.parametrize("name", ["powersave", "ondemand", "conservative", "schedutil"])
    def test_only_cpus_of_cards_count(self, name):
        (found,) = self.outcome([name, "performance", name, name]).findings

        assert (found.subject, found.severity) == ("CPU 0", Severity.MEDIUM)
        assert found.evidence["governors"] == [name]
        assert [fix.commands for fix in found.fixes] == [
            (f"echo performance > {GOVERNOR.format(0)}",)
        ]

    def test_where_cards_interrupt_is_not_known_all_count(self):
        found = self.outcome(["performance", "ondemand"], interrupts=None).findings[0]

        assert found.subject == "CPU 1"

    def test_tuned_is_asked_first(self):
        (found,) = self.outcome(["ondemand"] * 2, processes=(process(8, "tuned"),)).findings

        assert found.fixes[0].commands == ("tuned-adm profile network-latency",)
        assert found.fixes[1].competes == ("tuned",)

    def test_powersave_of_an_active_driver_is_low(self):
        (found,) = self.outcome(
            ["powersave"] * 2,
            "intel_pstate",
            {0: "balance_performance", 1: "performance"},
            stat=stat({"softirq": 590}, {}),
        ).findings

        assert (found.subject, found.severity) == ("CPU 0", Severity.LOW)
        assert found.evidence["preferences"] == ["balance_performance"]

    @pytest.mark.parametrize(
        ("preference", "softirq"), [("performance", 100), ("balance_power", 600)]
    )
    def test_powersave_of_an_active_driver_is_quiet(self, preference, softirq):
        found = self.outcome(
            ["powersave"], "intel_pstate", {0: preference}, stat=stat({"softirq": softirq})
        )

        assert found.status is Status.PASSED

    def test_performance_is_quiet(self):
        assert self.outcome(["performance"] * 2).status is Status.PASSED

    def test_guests_and_hosts_without_cpufreq(self):
        assert self.outcome(["ondemand"], cpuinfo=GUEST).status is Status.NOT_APPLICABLE
        assert self.outcome([]).status is Status.NOT_APPLICABLE

    def test_unknown_leaves_it_open(self):
        assert self.outcome(["powersave"], "intel_pstate", {0: "power"}).status is (
            Status.INCONCLUSIVE
        )
        no_preference = self.outcome(["powersave"], "intel_pstate", stat=stat({}))
        assert no_preference.status is Status.INCONCLUSIVE
        assert run((governor,), Snapshot())[0].status is Status.SKIPPED
