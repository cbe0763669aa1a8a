import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.irq.vector_exhaustion import vector_exhaustion
from dirtune.collect.log_messages import LogLine
from dirtune.collect.pci import PciDevice
from dirtune.snapshot import Snapshot

CARD = PciDevice(
    "0000:03:00.0", 0x020000, "ice", msi_irqs=(40, 41, 42, 43), nets=("eth0",), numa_node=0,
    local_cpus=(0, 1),
)  # fmt: skip


class TestVectorExhaustion:
    def outcome(self, *texts, **fields):
        log = tuple(LogLine(1.0, text) for text in texts)
        return run((vector_exhaustion,), Snapshot(kernel_log=log, **fields))[0]

    @pytest.mark.parametrize(
        "text",
        [
            "i40e 0000:03:00.0: Failed to allocate MSI-X vectors, reducing to 4",
            "ixgbe 0000:04:00.0 eth1: not enough MSI-X vectors",
            "pci 0000:03:00.0: no vectors available",
        ],
    )
    def test_a_card_got_fewer(self, text):
        (found,) = self.outcome(text, pci=(CARD,), cmdline=("nox2apic",)).findings

        assert found.severity is Severity.INFO
        assert (found.evidence["message"], found.evidence["times"]) == (text, 1)
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
