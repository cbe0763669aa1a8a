from dirtune.checks import Severity, Status, run
from dirtune.checks.cpu.throttled import throttled
from dirtune.snapshot import Snapshot
from tests.checks.cpu.hosts import GUEST, METAL, power
from tests.checks.samples import two


class TestThrottled:
    def outcome(self, then, now, **fields):
        known = {"cpuinfo": METAL} | fields
        taken = two(
            cpu_power=power(throttled=now),
            earlier={"cpu_power": power(throttled=then)},
            **known,
        )
        return run((throttled,), taken)[0]

    def test_it_rises(self):
        (found,) = self.outcome({0: 5, 1: 7}, {0: 8, 1: 7}).findings

        assert (found.subject, found.severity) == ("CPU 0", Severity.HIGH)
        assert found.evidence == {"throttled": {"0": 3}}
        assert [fix.commands for fix in found.fixes] == [()]

    def test_history_is_quiet(self):
        assert self.outcome({0: 5}, {0: 5}).status is Status.PASSED

    def test_it_says_nothing(self):
        assert self.outcome({0: 5}, {0: 8}, cpuinfo=GUEST).status is Status.NOT_APPLICABLE
        assert self.outcome({}, {}).status is Status.NOT_APPLICABLE
        alone = Snapshot(cpu_power=power(throttled={0: 5}))
        assert run((throttled,), alone)[0].status is Status.INCONCLUSIVE
