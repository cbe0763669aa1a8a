import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.irq.isolated_target import isolated_target
from tests.checks.samples import cpus, interrupts, msi, placed, two


def queues(*rows):
    return interrupts(*(msi(40 + n, f"eth0-rx-{n}", *row) for n, row in enumerate(rows)), n=4)


class TestIsolatedTarget:
    def outcome(self, *row, managed=False, **fields):
        known = {
            "interrupts": queues(row),
            "cpus": cpus(4, isolated=(2,), nohz_full=(3,)),
            "proc_irq": {"40": placed([2], managed=managed)},
        }
        return run((isolated_target,), two(**(known | fields)))[0]

    @pytest.mark.parametrize(("row", "cpu"), [((0, 0, 100, 0), 2), ((0, 0, 0, 100), 3)])
    def test_interrupts_on_a_cpu_kept_apart(self, row, cpu):
        (found,) = self.outcome(*row).findings

        assert (found.subject, found.severity) == ("eth0", Severity.MEDIUM)
        assert found.evidence["cpus"] == [cpu]
        assert found.fixes[0].commands == ("echo 0 > /proc/irq/40/smp_affinity_list",)
        assert found.fixes[1].title == "Boot with irqaffinity=0-1"

    def test_managed_vectors_are_not_moved(self):
        (found,) = self.outcome(0, 0, 100, 0, managed=True).findings

        assert found.fixes[0].commands == ()

    @pytest.mark.parametrize(
        ("row", "fields"),
        [
            ((900, 900, 0, 0), {}),
            ((900, 0, 99, 0), {}),
            ((0, 0, 900, 0), {"cpus": cpus(4)}),
            ((0, 0, 900, 0), {"managed": True, "cmdline": ("isolcpus=domain,managed_irq,2",)}),
        ],
        ids=["others", "hardly any", "none isolated", "meant so"],
    )
    def test_it_stays_quiet(self, row, fields):
        assert self.outcome(*row, **fields).status is Status.PASSED

    def test_managed_irq_does_not_excuse_a_vector_that_can_be_moved(self):
        assert self.outcome(0, 0, 900, 0, cmdline=("isolcpus=managed_irq,2",)).findings
