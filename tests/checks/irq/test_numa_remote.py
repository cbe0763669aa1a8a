import dataclasses

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.irq.numa_remote import numa_remote
from dirtune.collect.cpuinfo import CpuInfo
from dirtune.collect.pci import PciDevice
from tests.checks.samples import cpus, interface, interrupts, msi, two

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
        assert found.evidence["remote_share"] == far / 1000
        assert found.evidence["interrupts_per_second"] == 100
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
