import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.irq.queue_stacking import queue_stacking
from dirtune.collect.ethtool import Card
from tests.checks.samples import cpus, interface, interrupts, msi, placed, stat, two


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
        assert [fix.id for fix in found.fixes] == ["spread-vectors"]

    @pytest.mark.parametrize(
        ("now", "most", "commands"),
        [
            (2, 8, ["ethtool -L eth0 combined 4"]),
            (2, 3, ["ethtool -L eth0 combined 3"]),
            (2, 2, []),
        ],
    )
    def test_a_nic_is_asked_for_no_more_queues_than_it_can_have(self, now, most, commands):
        cards = {"eth0": Card(channels={"combined_count": now, "max_combined": most})}
        (found,) = self.outcome((1000, 0, 0, 0), (1000, 0, 0, 0), ethtool=cards).findings

        assert [row for fix in found.fixes[1:] for row in fix.commands] == commands

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


def across(*rows, n=4, percent=80, earlier=None):
    """Each row is a NIC's name and its queue's interrupts per CPU in 10 s."""
    lines = (msi(40 + k, f"{name}-rx-0", *counts) for k, (name, *counts) in enumerate(rows))
    nics = tuple(interface(name) for name in dict.fromkeys(name for name, *_ in rows))
    used = {"softirq": 10 * percent}
    taken = two(
        interrupts=interrupts(*lines, n=n),
        cpus=cpus(n),
        interfaces=nics,
        stat=stat(used, *({} for _ in range(n - 1))),
        earlier=earlier,
    )
    return run((queue_stacking,), taken)[0]


class TestAcrossNics:
    def test_the_busiest_queues_of_two_nics_meet(self):
        (found,) = across(
            ("eth2", 100_000, 0, 0, 0), ("eth3", 90_000, 0, 0, 0), ("eth4", 0, 9_000, 0, 0)
        ).findings

        assert (found.subject, found.severity) == ("CPU 0", Severity.MEDIUM)
        assert "eth2 (irq 40) and eth3 (irq 41)" in found.message
        assert found.fixes[0].commands == ("echo 2 > /proc/irq/41/smp_affinity_list",)

    @pytest.mark.parametrize("n", [2, 3])
    def test_two_or_three_cpus_are_enough(self, n):
        rest = [0] * (n - 1)
        (found,) = across(("eth0", 50_000, *rest), ("eth1", 50_000, *rest), n=n).findings

        assert found.fixes[0].commands == ("echo 1 > /proc/irq/41/smp_affinity_list",)

    @pytest.mark.parametrize(
        "quiet",
        [
            # Moving eth1 would only move the load.
            lambda: across(("eth0", 50_000, 0), ("eth1", 50_000, 0), ("eth2", 0, 60_000), n=2),
            lambda: across(("eth0", 50_000, 0), ("eth1", 500, 0), n=2),
            lambda: across(("eth0", 50_000, 0), ("eth1", 50_000, 0), n=2, percent=20),
            lambda: across(("eth0", 50_000, 0), ("eth1", 0, 50_000), n=2),
            lambda: across(("eth0", 50_000), ("eth1", 50_000), n=1),
        ],
    )
    def test_queues_that_need_not_move(self, quiet):
        assert quiet().status is Status.PASSED
