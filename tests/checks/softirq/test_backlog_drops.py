import dataclasses

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.softirq.backlog_drops import backlog_drops
from tests.checks.samples import cpus, interface, process, softnet, sysctls, two


def outcome(*rows, **fields):
    return run((backlog_drops,), two(softnet=softnet(*rows), **fields))[0]


@pytest.mark.parametrize(
    ("dropped", "severity"), [(1, Severity.HIGH), (99, Severity.HIGH), (100, Severity.CRITICAL)]
)
def test_drops_now(dropped, severity):
    found = outcome((9,), (9, dropped, 0, 0, 7), sysctls=sysctls(netdev_max_backlog=1000)).findings

    assert [(f.subject, f.severity) for f in found] == [("CPU 1", severity)]
    assert found[0].evidence["netdev_max_backlog"] == 1000
    assert found[0].evidence["dropped"] == {"1": dropped}
    assert found[0].evidence["flow_limit"] == {"1": 7}


@pytest.mark.parametrize(
    ("now", "wanted"), [(1000, 10_000), (9_999, 10_000), (10_000, 40_000), (299_999, 300_000)]
)
def test_the_backlog_is_made_longer(now, wanted):
    (found,) = outcome((9, 50), sysctls=sysctls(netdev_max_backlog=now)).findings

    (fix,) = found.fixes
    assert fix.commands == (
        f"sysctl -w 'net.core.netdev_max_backlog={wanted}'",
        f"echo 'net.core.netdev_max_backlog={wanted}' >> /etc/sysctl.d/90-dirtune.conf",
    )


@pytest.mark.parametrize("fields", [{}, {"sysctls": sysctls(netdev_max_backlog=300_000)}])
def test_a_backlog_of_unknown_or_great_length_is_left(fields):
    assert outcome((9, 50), **fields).findings[0].fixes == ()


def test_rps_and_tuned_are_named():
    (found,) = outcome(
        (9, 50),
        interfaces=(interface(rps=(0, 1)),),
        sysctls=sysctls(netdev_max_backlog=1000),
        processes=(process(8, "tuned"),),
    ).findings

    assert [fix.id for fix in found.fixes] == ["raise-backlog", "widen-rps"]
    assert found.fixes[0].competes == ("tuned",)


def test_a_counter_that_wrapped():
    found = outcome((9, 4), earlier={"softnet": softnet((9, 2**32 - 96))})

    assert found.findings[0].evidence["dropped"] == {"0": 100}


def test_history_is_only_told():
    found = outcome((9, 5), earlier={"softnet": softnet((9, 5))})

    assert [f.severity for f in found.findings] == [Severity.INFO]
    assert found.findings[0].evidence == {"dropped_since_boot": 5}


def test_no_drops():
    assert outcome((9,), (9,)).status is Status.PASSED


def test_one_sample_tells_history_alone():
    taken = dataclasses.replace(two(softnet=softnet((9, 5))), earlier=None)
    clean = dataclasses.replace(two(softnet=softnet((9, 0))), earlier=None)

    (found,) = run((backlog_drops,), taken)[0].findings
    assert found.severity is Severity.INFO
    assert "5 packets since boot" in found.message
    assert "between the samples" not in found.message, "one sample has no interval"
    assert run((backlog_drops,), clean)[0].status is Status.PASSED


def test_rows_without_a_cpu_are_the_online_ones():
    rows = tuple(dataclasses.replace(r, cpu=None) for r in softnet((9,), (9, 30)))
    before = tuple(dataclasses.replace(r, cpu=None) for r in softnet((0,), (0,)))
    online = dataclasses.replace(cpus(3), online=(0, 2))
    taken = two(softnet=rows, cpus=online, earlier={"softnet": before})

    assert run((backlog_drops,), taken)[0].findings[0].subject == "CPU 2"


def test_a_cpu_that_came_leaves_it_at_history():
    found = outcome((9, 5), (9, 5), earlier={"softnet": softnet((0,))})

    assert found.severity is Severity.INFO
