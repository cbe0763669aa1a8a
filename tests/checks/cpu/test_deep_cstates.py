import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.cpu.deep_cstates import deep_cstates
from dirtune.collect.cpu_power import IdleState
from tests.checks.cpu.hosts import GUEST, METAL, ON_0_AND_1, power
from tests.checks.samples import two


class TestDeepCstates:
    def states(self, *deep_us, latency=133):
        return {
            cpu: (IdleState("POLL", 0, False, 5), IdleState("C6", latency, False, us))
            for cpu, us in enumerate(deep_us)
        }

    def outcome(self, *deep_us, latency=133, driver="intel_idle", **fields):
        known = {"interrupts": ON_0_AND_1, "cpuinfo": METAL} | fields
        now = power(idle=self.states(*deep_us, latency=latency), idle_driver=driver)
        then = power(idle=self.states(*(0 for _ in deep_us), latency=latency), idle_driver=driver)
        known = {"earlier": {"cpu_power": then}} | known
        return run((deep_cstates,), two(cpu_power=now, **known))[0]

    def test_cpus_of_cards_sleep_deeply(self):
        # 2 s of 10 s, where interrupts go; CPU 2 serves no card.
        (found,) = self.outcome(2_000_000, 1_999_999, 9_000_000).findings

        assert (found.subject, found.severity) == ("CPU 0", Severity.LOW)
        assert found.evidence == {
            "percent_by_cpu": {"0": 20.0},
            "deepest": "C6",
            "latency_us": 133,
        }
        assert [fix.commands for fix in found.fixes] == [("cpupower idle-set -D 20",)]

    def test_polling_is_the_other_extreme(self):
        (found,) = self.outcome(0, cmdline=("idle=poll",)).findings

        assert (found.subject, found.severity) == ("idle=poll", Severity.LOW)

    def test_it_stays_quiet(self):
        assert self.outcome(9_000_000, latency=49).status is Status.PASSED
        assert self.outcome(9_000_000, latency=50).status is Status.FINDING

    @pytest.mark.parametrize(
        ("fields", "status"),
        [
            ({"cpuinfo": GUEST}, Status.NOT_APPLICABLE),
            ({"driver": "none"}, Status.NOT_APPLICABLE),
            ({"pps": 10}, Status.INCONCLUSIVE),
            ({"earlier": {"cpu_power": None}}, Status.INCONCLUSIVE),
        ],
    )
    def test_it_says_nothing(self, fields, status):
        assert self.outcome(9_000_000, **fields).status is status
