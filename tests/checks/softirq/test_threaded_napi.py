import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.softirq.threaded_napi import threaded_napi
from dirtune.collect.netdev import Napi, NicQueues
from dirtune.collect.pci import PciDevice
from tests.checks.samples import interface, process, two


class TestThreadedNapi:
    def outcome(self, then, now, *, threaded=True, **fields):
        threads = [(process(50, "napi/eth0-8193", cpu=cpu, kernel=True),) for cpu in (then, now)]
        taken = two(
            interfaces=(interface(threaded=threaded),),
            processes=threads[1],
            earlier={"processes": threads[0]},
            **fields,
        )
        return run((threaded_napi,), taken)[0]

    def test_a_thread_that_moved(self):
        (found,) = self.outcome(1, 3).findings

        assert (found.subject, found.severity) == ("eth0", Severity.LOW)
        assert len(found.evidence["pids"]) == 1
        assert found.evidence["threads"] == {"napi/eth0-8193": 3}
        assert [fix.commands for fix in found.fixes] == [
            (),
            ("echo 0 > /sys/class/net/eth0/threaded",),
        ]

    def test_a_thread_on_another_node(self):
        card = PciDevice(
            "0000:03:00.0", 0x020000, "ice", nets=("eth0",), numa_node=0, local_cpus=(0, 1)
        )

        assert self.outcome(3, 3, pci=(card,)).status is Status.FINDING
        assert self.outcome(1, 1, pci=(card,)).status is Status.INCONCLUSIVE

    def test_a_thread_that_stayed_may_be_pinned(self):
        assert self.outcome(1, 1).status is Status.INCONCLUSIVE

    def test_polling_in_softirqs_is_left_alone(self):
        assert self.outcome(1, 3, threaded=False).status is Status.PASSED

    def test_an_old_kernel_has_no_such_threads(self):
        taken = two(interfaces=(interface(threaded=None),), processes=(process(50, "nginx"),))

        assert run((threaded_napi,), taken)[0].status is Status.PASSED

    def test_threads_show_what_a_report_does_not_say(self):
        """sos does not collect the file `threaded`, but the list of processes."""
        assert self.outcome(1, 3, threaded=None).status is Status.FINDING

    def test_no_processes_leave_it_open(self):
        taken = two(interfaces=(interface(threaded=True),))

        assert run((threaded_napi,), taken)[0].status is Status.INCONCLUSIVE

    @pytest.mark.parametrize(
        ("cpus", "shared"),
        [
            ((1, 2, 3), []),
            ((1, 2, 2), [("CPU 2", [51, 52])]),
            ((1, 1, 1), [("CPU 1", [50, 51, 52])]),
        ],
    )
    def test_threads_that_poll_continuously_need_a_cpu_each(self, cpus, shared):
        pids = (50, 51, 52)
        alive = tuple(
            process(pid, f"napi/eth0-{pid}", cpu=cpu, kernel=True)
            for pid, cpu in zip(pids, cpus, strict=True)
        )
        napis = tuple(Napi(2, pid, pid=pid, busy_polls=True) for pid in pids)
        taken = two(
            interfaces=(interface(threaded=True, ifindex=2),),
            processes=alive,
            netdev=NicQueues(napis),
            earlier={"processes": alive},
        )
        outcome = run((threaded_napi,), taken)[0]

        assert [(f.subject, f.evidence["pids"]) for f in outcome.findings] == shared
        assert {f.severity for f in outcome.findings} <= {Severity.MEDIUM}
