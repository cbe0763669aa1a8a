"""softirq/ksoftirqd-busy, rps-backlog and threaded-napi."""

import dataclasses

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.softirq.ksoftirqd_busy import ksoftirqd_busy
from dirtune.checks.softirq.rps_backlog import rps_backlog
from dirtune.checks.softirq.threaded_napi import threaded_napi
from dirtune.collect.ethtool import Card, Feature
from dirtune.collect.kernel import Kernel
from dirtune.collect.pci import PciDevice
from tests.checks.samples import interface, process, softnet, sysctls, two

DEBIAN = Kernel("lb1", "6.1.0-56-amd64", "#1 SMP PREEMPT_DYNAMIC Debian")
REALTIME = Kernel("lb1", "6.1.0-56-rt-amd64", "#1 SMP PREEMPT_RT Debian")


def alone(snapshot):
    return dataclasses.replace(snapshot, earlier=None)


class TestKsoftirqd:
    def outcome(self, ticks, *others, name="ksoftirqd/2", **fields):
        fields = {"kernel": DEBIAN} | fields
        then = (process(30, name, 5000, kernel=True),)
        now = (process(30, name, 5000 + ticks, kernel=True), *others)
        taken = two(processes=now, earlier={"processes": then}, **fields)
        return run((ksoftirqd_busy,), taken)[0]

    @pytest.mark.parametrize(
        ("ticks", "severity"),
        [(300, Severity.MEDIUM), (799, Severity.MEDIUM), (800, Severity.HIGH)],
    )
    def test_a_busy_thread(self, ticks, severity):
        (found,) = self.outcome(ticks).findings

        assert (found.subject, found.severity) == ("CPU 2", severity)
        assert f"ksoftirqd/2 takes {ticks / 10:.0f} % of the CPU" in found.message
        assert found.evidence["cpu_percent"] == ticks / 10
        assert [fix.id for fix in found.fixes] == ["spread-load"]

    def test_offload_and_priority_are_offered(self):
        cards = {"eth0": Card(features={"rx-gro": Feature(on=False)})}
        (found,) = self.outcome(500, process(9, "keepalived"), ethtool=cards).findings

        assert [(fix.id, fix.commands) for fix in found.fixes] == [
            ("gro-on", ("ethtool -K eth0 gro on",)),
            ("keepalived-priority", ()),
            ("spread-load", ()),
        ]

    def test_a_keepalived_with_priority_is_left(self):
        found = self.outcome(500, process(9, "keepalived", policy="rr")).findings[0]

        assert [fix.id for fix in found.fixes] == ["spread-load"]

    @pytest.mark.parametrize(
        ("ticks", "name"),
        [(299, "ksoftirqd/2"), (900, "napi/eth0-8193"), (-10, "ksoftirqd/2")],
        ids=["not busy", "threaded napi", "another thread of that number"],
    )
    def test_it_stays_quiet(self, ticks, name):
        assert self.outcome(ticks, name=name).status is Status.PASSED

    def test_realtime_kernels_are_not_judged(self):
        assert self.outcome(900, kernel=REALTIME).status is Status.NOT_APPLICABLE

    def test_an_unknown_kernel_or_one_sample_leaves_it_open(self):
        assert self.outcome(300, kernel=None).status is Status.INCONCLUSIVE
        taken = alone(two(processes=(process(30, "ksoftirqd/2", 9, kernel=True),)))
        assert run((ksoftirqd_busy,), taken)[0].reason == "one sample"


SETTINGS = {"netdev_max_backlog": 1000, "netdev_tstamp_prequeue": 1}


class TestRpsBacklog:
    def outcome(self, *rows, rps=(1,), settings=SETTINGS, **fields):
        fields = {"interfaces": (interface(rps=rps),)} | fields
        taken = two(softnet=softnet(*rows), sysctls=sysctls(**settings), **fields)
        return run((rps_backlog,), taken)[0]

    def test_many_packets_and_a_short_backlog(self):
        (found,) = self.outcome((9,), (1_000_000,)).findings

        assert (found.subject, found.severity) == ("eth0", Severity.LOW)
        assert "RPS steers 100,000 packets/s to CPU 1, whose backlog holds 1000" in found.message
        assert [fix.commands[0] for fix in found.fixes] == [
            "sysctl -w 'net.core.netdev_max_backlog=10000'",
            "sysctl -w 'net.core.netdev_tstamp_prequeue=0'",
        ]

    def test_drops_make_it_medium(self):
        assert self.outcome((9,), (1_000_000, 3)).severity is Severity.MEDIUM

    def test_the_flow_limit_drops(self):
        settings = {"netdev_max_backlog": 300_000, "netdev_tstamp_prequeue": 0}
        (found,) = self.outcome((9,), (500, 4, 0, 0, 4), settings=settings).findings

        assert "the flow limit dropped 4 packets" in found.message
        assert [(fix.id, fix.commands[0]) for fix in found.fixes] == [
            ("clear-flow-limit", "sysctl -w 'net.core.flow_limit_cpu_bitmap=0'")
        ]

    @pytest.mark.parametrize(
        ("row", "fields"),
        [
            ((999_990,), {}),
            ((1_000_000,), {"settings": {"netdev_max_backlog": 1001}}),
            ((1_000_000, 3, 0, 0, 3), {"rps": ()}),
            ((9,), {"interfaces": (interface(rps=(0,)),)}),
        ],
        ids=["not many", "longer", "off", "another CPU's packets"],
    )
    def test_it_stays_quiet(self, row, fields):
        assert self.outcome((9,), row, **fields).status is Status.PASSED

    def test_unknown_leaves_it_open(self):
        assert self.outcome((9,), (9,), rps=None).status is Status.INCONCLUSIVE
        assert self.outcome((9,), (1_000_000,), settings={}).status is Status.INCONCLUSIVE
        taken = alone(two(softnet=softnet((9,), (9,)), interfaces=(interface(rps=(1,)),)))
        assert run((rps_backlog,), taken)[0].status is Status.INCONCLUSIVE


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
        assert "1 of 1 threads" in found.message
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

    @pytest.mark.parametrize("threaded", [False, None])
    def test_polling_in_softirqs_is_left_alone(self, threaded):
        assert self.outcome(1, 3, threaded=threaded).status is Status.PASSED

    def test_no_processes_leave_it_open(self):
        taken = two(interfaces=(interface(threaded=True),))

        assert run((threaded_napi,), taken)[0].status is Status.INCONCLUSIVE
