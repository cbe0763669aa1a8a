import dataclasses

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.softirq.ksoftirqd_busy import ksoftirqd_busy
from dirtune.collect.ethtool import Card, Feature
from dirtune.collect.kernel import Kernel
from dirtune.settings import BootOption
from tests.checks.samples import process, two

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
        assert found.evidence["cpu_percent"] == ticks / 10
        assert [fix.id for fix in found.fixes] == ["spread-load"]

    def test_offload_and_priority_are_offered(self):
        cards = {"eth0": Card(features={"rx-gro": Feature(on=False)})}
        (found,) = self.outcome(500, process(9, "keepalived"), ethtool=cards).findings

        assert [(fix.id, fix.commands) for fix in found.fixes] == [
            ("turn-gro-on", ("ethtool -K eth0 gro on",)),
            ("keepalived-priority", ()),
            ("spread-load", ()),
        ]

    def test_a_keepalived_with_priority_is_left(self):
        found = self.outcome(500, process(9, "keepalived", policy="rr")).findings[0]

        assert [fix.id for fix in found.fixes] == ["spread-load"]

    def test_the_thread_of_packets_that_rps_steers(self):
        booted = ("quiet", "thread_backlog_napi")
        (found,) = self.outcome(900, name="backlog_napi/2", cmdline=booted).findings

        assert (found.subject, found.severity) == ("CPU 2", Severity.LOW)
        assert [fix.id for fix in found.fixes] == ["drop-backlog-threads", "spread-load"]
        assert found.fixes[0].settings == (BootOption("thread_backlog_napi"),)

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
        assert run((ksoftirqd_busy,), taken)[0].status is Status.INCONCLUSIVE
