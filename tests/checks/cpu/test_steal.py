import dataclasses

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.cpu.steal import steal
from tests.checks.cpu.hosts import GUEST, METAL, ON_0_AND_1
from tests.checks.samples import stat, two


class TestSteal:
    def outcome(self, *stolen, **fields):
        known = {"cpuinfo": GUEST, "interrupts": ON_0_AND_1} | fields
        return run((steal,), two(stat=stat(*({"steal": n} for n in stolen)), **known))[0]

    @pytest.mark.parametrize(
        ("stolen", "severity"),
        [(50, Severity.HIGH), (149, Severity.HIGH), (150, Severity.CRITICAL)],
    )
    def test_time_is_taken(self, stolen, severity):
        (found,) = self.outcome(0, stolen).findings

        assert (found.subject, found.severity) == ("CPU 1", severity)
        assert found.evidence["steal_percent"] == {"1": stolen / 10}
        assert [fix.commands for fix in found.fixes] == [()]

    @pytest.mark.parametrize("stolen", [(49, 0, 0), (0, 0, 500)], ids=["little", "no card's"])
    def test_it_stays_quiet(self, stolen):
        assert self.outcome(*stolen).status is Status.PASSED

    def test_it_says_nothing(self):
        assert self.outcome(500, cpuinfo=METAL).status is Status.NOT_APPLICABLE
        assert self.outcome(500, earlier={"stat": None}).status is Status.INCONCLUSIVE
        old = stat({})
        times = tuple(dataclasses.replace(t, steal=None) for t in old.cpus)
        uncounted = dataclasses.replace(old, cpus=times)
        taken = two(stat=uncounted, cpuinfo=GUEST)
        assert run((steal,), taken)[0].status is Status.INCONCLUSIVE
