"""irq/numa-remote, queue-stacking, isolated-target and vector-exhaustion."""

import dataclasses

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.irq.isolated_target import isolated_target
from dirtune.checks.irq.numa_remote import numa_remote
from dirtune.checks.irq.queue_stacking import queue_stacking
from dirtune.checks.irq.vector_exhaustion import vector_exhaustion
from dirtune.collect.cpuinfo import CpuInfo
from dirtune.collect.kernel_log import LogLine
from dirtune.collect.pci import PciDevice
from dirtune.snapshot import Snapshot
from tests.checks.samples import cpus, interface, interrupts, msi, placed, two

CARD = PciDevice(
    "0000:03:00.0", 0x020000, "ice", msi_irqs=(40, 41, 42, 43), nets=("eth0",), numa_node=0,
    local_cpus=(0, 1),
)  # fmt: skip
NODES = {"nodes": {0: (0, 1), 1: (2, 3)}, "distances": {0: (10, 21), 1: (21, 10)}}


def queues(*rows):
    return interrupts(*(msi(40 + n, f"eth0-rx-{n}", *row) for n, row in enumerate(rows)), n=4)


class TestNumaRemote:
    def outcome(self, near, far, *, speed=10_000, card=CARD, nodes=NODES, **fields):
        known = {
            "interrupts": queues((near, 0, 0, 0), (0, 0, far, 0)),
            "cpus": cpus(4, **nodes),
            "pci": (card,),
            "interfaces": (interface(speed_mbps=speed),),
        }
        return run((numa_remote,), two(**(known | fields)))[0]

    @pytest.mark.parametrize(
        ("near", "far", "speed", "severity"),
        [
            (700, 300, 10_000, Severity.MEDIUM),
            (500, 500, 10_000, Severity.HIGH),
            (500, 500, 1_000, Severity.MEDIUM),
            (500, 500, None, Severity.MEDIUM),
        ],
    )
    def test_vectors_on_the_other_node(self, near, far, speed, severity):
        (found,) = self.outcome(near, far, speed=speed).findings

        assert (found.subject, found.severity) == ("eth0", severity)
        assert f"{far / 10:.0f} % of its 100 interrupts/s" in found.message
        assert found.evidence["remote_cpus"] == [2]
        assert found.fixes[0].commands == (
            "echo 0 > /proc/irq/40/smp_affinity_list",
            "echo 1 > /proc/irq/41/smp_affinity_list",
        )

    @pytest.mark.parametrize(
        "fields",
        [
            {"near": 710, "far": 290},
            {"card": dataclasses.replace(CARD, numa_node=None)},
            {"nodes": NODES | {"distances": {0: (10, 12), 1: (12, 10)}}},
            {"nodes": NODES | {"isolated": (0, 1)}},
        ],
        ids=["mostly near", "no node", "same socket", "near CPUs isolated"],
    )
    def test_it_stays_quiet(self, fields):
        assert self.outcome(**({"near": 500, "far": 500} | fields)).status is Status.PASSED

    @pytest.mark.parametrize(
        ("fields", "status"),
        [
            ({"nodes": {"nodes": {0: (0, 1, 2, 3), 1: ()}}}, Status.NOT_APPLICABLE),
            ({"cpuinfo": CpuInfo(None, frozenset({"hypervisor"}))}, Status.NOT_APPLICABLE),
            ({"pci": ()}, Status.INCONCLUSIVE),
            ({"pci": None}, Status.SKIPPED),
        ],
        ids=["one node", "guest", "unknown card", "no pci"],
    )
    def test_it_says_nothing(self, fields, status):
        assert self.outcome(500, 500, **fields).status is status


THREADS = {"siblings": {0: (0, 1), 1: (0, 1), 2: (2, 3), 3: (2, 3)}}


class TestQueueStacking:
    def outcome(self, *rows, topology=None, **fields):
        known = {"interrupts": queues(*rows), "cpus": cpus(4, **(topology or {}))} | fields
        return run((queue_stacking,), two(**known))[0]

    def test_two_queues_on_one_cpu(self):
        (found,) = self.outcome((1000, 0, 0, 0), (1000, 0, 0, 0)).findings

        assert (found.subject, found.severity) == ("eth0", Severity.MEDIUM)
        assert "hot queues meet on CPU 0 while 3 of 4 cores near it serve none" in found.message
        assert found.evidence["irqs"] == ["40", "41"]
        assert found.cause is None
        assert found.fixes[0].commands[1] == "echo 1 > /proc/irq/41/smp_affinity_list"
        assert found.fixes[1].commands == ("ethtool -L eth0 combined 4",)

    def test_a_quarter_of_the_cores_is_idle(self):
        rows = ((1000, 0, 0, 0), (1000, 0, 0, 0), (0, 1000, 0, 0), (0, 0, 1000, 0))

        assert "1 of 4 cores" in self.outcome(*rows).findings[0].message

    def test_two_siblings_of_one_core(self):
        (found,) = self.outcome((1000, 0, 0, 0), (0, 1000, 0, 0), topology=THREADS).findings

        assert "on CPU 0+1 while 1 of 2 cores" in found.message

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
        assert f"interrupts CPU {cpu}" in found.message
        assert found.evidence["cpus"] == [cpu]
        assert found.fixes[0].commands == ("echo 0 > /proc/irq/40/smp_affinity_list",)
        assert found.fixes[1].title == "Boot with irqaffinity=0,1"

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


class TestVectorExhaustion:
    def outcome(self, *texts, **fields):
        log = tuple(LogLine(1.0, text) for text in texts)
        return run((vector_exhaustion,), Snapshot(kernel_log=log, **fields))[0]

    @pytest.mark.parametrize(
        "text",
        [
            "i40e 0000:03:00.0: Failed to allocate MSI-X vectors, reducing to 4",
            "ixgbe 0000:04:00.0 eth1: not enough MSI-X vectors",
            "device 0000:03:00.0: no vectors available",
        ],
    )
    def test_a_card_got_fewer(self, text):
        (found,) = self.outcome(text, pci=(CARD,), cmdline=("nox2apic",)).findings

        assert found.severity is Severity.INFO
        assert text in found.message
        assert found.fixes[0].title == "Boot without nox2apic"

    def test_stray_vectors(self):
        text = "__common_interrupt: 1.55 No irq handler for vector"

        assert self.outcome(text).status is Status.PASSED
        assert self.outcome(text, text).severity is Severity.INFO

    @pytest.mark.parametrize(
        "text", ["nvme 0000:05:00.0: Failed to allocate MSI-X vectors", "i40e 0000:03:00.0: up"]
    )
    def test_it_stays_quiet(self, text):
        assert self.outcome(text, pci=(CARD,)).status is Status.PASSED

    def test_without_a_log_it_is_skipped(self):
        assert run((vector_exhaustion,), Snapshot())[0].status is Status.SKIPPED
