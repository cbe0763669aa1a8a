import dataclasses

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.irq.irqbalance_absent import irqbalance_absent
from tests.checks.samples import cpus, interrupts, msi, placed, process, stat, two

EVERY = range(4)


THREE = interrupts(*(msi(40 + n, f"eth0-rx-{n}", 900, 900, 0, 0) for n in range(3)))


ONE_CPU = interrupts(*(msi(40 + n, f"eth0-rx-{n}", 900, 0, 0, 0) for n in range(3)))


IRQBALANCE = process(700, "irqbalance")


def states(*effective, affinity=EVERY, **fields):
    return {str(40 + n): placed(affinity, [cpu], **fields) for n, cpu in enumerate(effective)}


class TestAbsent:
    def outcome(self, **fields):
        known = {"interrupts": THREE, "cpus": cpus(4), "processes": (process(9, "sshd"),)}
        known["proc_irq"] = states(0, 0, 1)
        return run((irqbalance_absent,), two(**(known | fields)))[0]

    def test_all_go_to_two_cpus(self):
        (found,) = self.outcome().findings

        assert found.severity is Severity.MEDIUM
        assert (found.subject, found.evidence["cpus"]) == ("irqbalance", [0, 1])
        assert found.evidence["irqs"] == ["40", "41", "42"]
        assert found.fixes[0].commands == ("systemctl enable --now irqbalance",)
        assert found.fixes[1].commands == (
            "echo 0 > /proc/irq/40/smp_affinity_list",
            "echo 1 > /proc/irq/41/smp_affinity_list",
            "echo 2 > /proc/irq/42/smp_affinity_list",
        )

    def test_one_busy_cpu_makes_it_high(self):
        busy = stat({"softirq": 500}, {}, {}, {})
        found = self.outcome(interrupts=ONE_CPU, proc_irq=states(0, 0, 0), stat=busy)

        assert found.severity is Severity.HIGH

    def test_without_effective_masks_the_rates_tell(self):
        unknown = {n: dataclasses.replace(s, effective=None) for n, s in states(0, 0, 1).items()}

        assert self.outcome(proc_irq=unknown).findings[0].evidence["cpus"] == [0, 1]

    @pytest.mark.parametrize(
        "fields",
        [
            {"processes": (IRQBALANCE,)},
            {"processes": (process(9, "tuna"),)},
            {"cpus": cpus(2)},
            {"proc_irq": states(0, 1, 2)},
            {"proc_irq": states(0, 0, 1, affinity=[0])},
            {"proc_irq": states(0, 0, 1, managed=True)},
            {"interrupts": interrupts(msi(40, "eth0-rx-0", 9, 0, 0, 0))},
        ],
        ids=["irqbalance", "tuna", "few cpus", "spread", "pinned", "managed", "one queue"],
    )
    def test_it_stays_quiet(self, fields):
        assert self.outcome(**fields).status is Status.PASSED

    def test_unknown_leaves_it_open(self):
        assert self.outcome(proc_irq=None).status is Status.INCONCLUSIVE
        assert self.outcome(processes=None).status is Status.SKIPPED
