import dataclasses

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.irq.threaded_shared import threaded_shared
from dirtune.collect.irq_threads import IrqThread
from dirtune.collect.kernel import Kernel
from dirtune.snapshot import Snapshot
from tests.checks.machines import SHARED, host, line


def outcome(check, snapshot):
    return run((check,), snapshot)[0]


def severity(check, snapshot):
    (finding,) = outcome(check, snapshot).findings
    return finding.severity


class TestThreadedShared:
    THREADS = (IrqThread(125, 10, "sym53c8xx"), IrqThread(134, 10, "enp0s16"))

    @pytest.mark.parametrize(
        "fields",
        [{"cmdline": ("threadirqs",)}, {"irq_threads": THREADS}],
        ids=["option", "threads"],
    )
    def test_forced_threads_on_a_shared_line(self, fields):
        assert severity(threaded_shared, host(SHARED, **fields)) is Severity.MEDIUM

    def test_a_realtime_kernel(self):
        kernel = Kernel("lb1", "6.1.0-56-rt-amd64", "#1 SMP PREEMPT_RT Debian 6.1.192-1")

        found = dataclasses.replace(host(SHARED), kernel=kernel)
        assert severity(threaded_shared, found) is Severity.MEDIUM

    def test_it_stays_quiet(self):
        one = host(SHARED, irq_threads=self.THREADS[:1])
        alone = host("IO-APIC  20-fasteoi   enp0s16", cmdline=("threadirqs",))

        assert outcome(threaded_shared, one).status is Status.PASSED
        assert outcome(threaded_shared, alone).status is Status.PASSED

    def test_a_table_alone_does_not_tell(self):
        snapshot = Snapshot(interrupts=line("IO-APIC-level  aic7xxx, eth0"))

        assert outcome(threaded_shared, snapshot).status is Status.INCONCLUSIVE
