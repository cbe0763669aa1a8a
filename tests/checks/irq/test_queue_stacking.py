import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.irq.queue_stacking import queue_stacking
from tests.checks.samples import cpus, interrupts, msi, placed, two


def queues(*rows):
    return interrupts(*(msi(40 + n, f"eth0-rx-{n}", *row) for n, row in enumerate(rows)), n=4)


THREADS = {"siblings": {0: (0, 1), 1: (0, 1), 2: (2, 3), 3: (2, 3)}}


class TestQueueStacking:
    def outcome(self, *rows, topology=None, **fields):
        known = {"interrupts": queues(*rows), "cpus": cpus(4, **(topology or {}))} | fields
        return run((queue_stacking,), two(**known))[0]

    def test_two_queues_on_one_cpu(self):
        (found,) = self.outcome((1000, 0, 0, 0), (1000, 0, 0, 0)).findings

        assert (found.subject, found.severity) == ("eth0", Severity.MEDIUM)
        assert found.evidence == {
            "irqs": ["40", "41"],
            "hot_queues": 2,
            "idle_cores": 3,
            "cores": 4,
        }
        assert found.cause is None
        assert found.fixes[0].commands[1] == "echo 1 > /proc/irq/41/smp_affinity_list"
        assert found.fixes[1].commands == ("ethtool -L eth0 combined 4",)

    def test_a_quarter_of_the_cores_is_idle(self):
        rows = ((1000, 0, 0, 0), (1000, 0, 0, 0), (0, 1000, 0, 0), (0, 0, 1000, 0))

        (found,) = self.outcome(*rows).findings

        assert (found.evidence["idle_cores"], found.evidence["cores"]) == (1, 4)

    def test_two_siblings_of_one_core(self):
        (found,) = self.outcome((1000, 0, 0, 0), (0, 1000, 0, 0), topology=THREADS).findings

        assert (found.evidence["idle_cores"], found.evidence["cores"]) == (1, 2)

    @pytest.mark.parametrize(
        ("rows", "topology"),
        [
            (((1000, 0, 0, 0), (0, 1000, 0, 0)), {}),
            (((1000, 0, 0, 0), (99, 0, 0, 0)), {}),
            (((990, 0, 0, 0), (990, 0, 0, 0)), {}),
            (((1000, 0, 0, 0), (1000, 0, 0, 0), (0, 1000, 0, 0)), {"isolated": (2, 3)}),
            (((20_000, 0, 0, 0), (1_990, 0, 0, 0)), {}),
        ],
        ids=["apart", "one is idle", "not hot", "more queues than cores", "little beside other"],
    )
    def test_it_stays_quiet(self, rows, topology):
        assert self.outcome(*rows, topology=topology).status is Status.PASSED

    def test_receiving_and_sending_of_one_queue_are_no_two_queues(self):
        table = interrupts(
            msi(40, "eth0-rx-0", 9000, 0, 0, 0), msi(41, "eth0-tx-0", 9000, 0, 0, 0)
        )

        assert self.outcome(interrupts=table).status is Status.PASSED

    def test_vectors_that_moved_leave_it_open(self):
        found = self.outcome(
            (1000, 0, 0, 0),
            (1000, 0, 0, 0),
            proc_irq={"40": placed([0])},
            earlier={"proc_irq": {"40": placed([1])}},
        )

        assert found.status is Status.INCONCLUSIVE
