import dataclasses

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.softirq.rps_backlog import rps_backlog
from tests.checks.samples import interface, softnet, sysctls, two


def alone(snapshot):
    return dataclasses.replace(snapshot, earlier=None)


SETTINGS = {"netdev_max_backlog": 1000, "netdev_tstamp_prequeue": 1}


class TestRpsBacklog:
    def outcome(self, *rows, rps=(1,), settings=SETTINGS, **fields):
        fields = {"interfaces": (interface(rps=rps),)} | fields
        taken = two(softnet=softnet(*rows), sysctls=sysctls(**settings), **fields)
        return run((rps_backlog,), taken)[0]

    def test_many_packets_and_a_short_backlog(self):
        (found,) = self.outcome((9,), (1_000_000,)).findings

        assert (found.subject, found.severity) == ("eth0", Severity.LOW)
        assert (found.evidence["cpu"], found.evidence["packets_per_second"]) == (1, 100_000)
        assert found.evidence["netdev_max_backlog"] == 1000
        assert [fix.commands[0] for fix in found.fixes] == [
            "sysctl -w 'net.core.netdev_max_backlog=10000'",
            "sysctl -w 'net.core.netdev_tstamp_prequeue=0'",
        ]

    def test_drops_make_it_medium(self):
        assert self.outcome((9,), (1_000_000, 3)).severity is Severity.MEDIUM

    def test_the_flow_limit_drops(self):
        settings = {"netdev_max_backlog": 300_000, "netdev_tstamp_prequeue": 0}
        (found,) = self.outcome((9,), (500, 4, 0, 0, 4), settings=settings).findings

        assert found.evidence["flow_limit"] == 4
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
