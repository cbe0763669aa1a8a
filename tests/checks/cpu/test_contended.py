import dataclasses

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.cpu.contended import contended
from tests.checks.cpu.hosts import ON_0_AND_1, director
from tests.checks.samples import interrupts, process, stat, two


class TestContended:
    def outcome(self, share, *programs, **fields):
        known = {"interrupts": ON_0_AND_1, "services": director()} | fields
        then = tuple(dataclasses.replace(p, ticks=0) for p in programs)
        taken = two(stat=stat(share, {}), processes=programs, earlier={"processes": then}, **known)
        return run((contended,), taken)[0]

    def test_programs_beside_softirqs(self):
        busy = {"softirq": 400, "user": 250, "nice": 50}
        (found,) = self.outcome(busy, process(90, "haproxy", 300), process(91, "sh", 9)).findings

        assert (found.subject, found.severity) == ("CPU 0", Severity.INFO)
        assert found.evidence["softirq_percent"] == 40.0
        assert found.evidence["user_percent"] == 30.0
        assert found.evidence["programs"] == ["haproxy", "sh"]

    def test_a_realtime_program(self):
        (found,) = self.outcome({}, process(90, "jackd", 5, policy="fifo")).findings

        assert found.evidence["realtime"] == ["jackd"]

    @pytest.mark.parametrize(
        ("share", "program"),
        [
            ({"softirq": 399, "user": 300}, process(90, "haproxy", 300)),
            ({"softirq": 400, "user": 299}, process(90, "haproxy", 300)),
            ({}, process(90, "keepalived", 5, policy="rr")),
            ({}, process(90, "migration/0", 5, policy="fifo", kernel=True)),
            ({}, process(90, "jackd", 5, policy="fifo", cpu=3)),
            ({}, process(90, "jackd", 0, policy="fifo")),
        ],
        ids=["few softirqs", "few programs", "keepalived", "kernel", "other cpu", "did not run"],
    )
    def test_it_stays_quiet(self, share, program):
        assert self.outcome(share, program).status is Status.PASSED

    def test_it_says_nothing(self):
        busy = {"softirq": 400, "user": 300}

        assert self.outcome(busy, services=director("Local")).status is Status.NOT_APPLICABLE
        assert self.outcome(busy, services=()).status is Status.NOT_APPLICABLE
        assert self.outcome(busy, interrupts=interrupts()).status is Status.INCONCLUSIVE
        assert self.outcome(busy, interrupts=None).status is Status.SKIPPED
