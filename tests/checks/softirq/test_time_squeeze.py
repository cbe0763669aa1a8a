import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.softirq.time_squeeze import time_squeeze
from tests.checks.samples import interface, net_rx, softnet, sysctls, two

DEFAULTS = {"netdev_budget": 300, "netdev_budget_usecs": 8000}


def outcome(squeezed, runs=10_000, settings=DEFAULTS, **fields):
    rows = softnet((9,), (9, 0, squeezed))
    fields = {"softirqs": net_rx(5, runs), "sysctls": sysctls(**settings)} | fields
    return run((time_squeeze,), two(softnet=rows, **fields))[0]


def test_runs_that_ended_early():
    (found,) = outcome(200).findings

    assert (found.subject, found.severity) == ("CPU 1", Severity.MEDIUM)
    assert found.evidence["squeezed"] == {"1": 200}
    assert [fix.commands[0] for fix in found.fixes] == [
        "sysctl -w 'net.core.netdev_budget=600'",
        "sysctl -w 'net.core.netdev_budget_usecs=16000'",
    ]


def test_a_ring_that_overflowed_makes_it_high():
    now = interface(statistics={"rx_missed_errors": 12, "rx_fifo_errors": 12})
    then = interface(packets=0, statistics={"rx_missed_errors": 5, "rx_fifo_errors": 5})
    (found,) = outcome(200, interfaces=(now,), earlier={"interfaces": (then,)}).findings

    assert found.severity is Severity.HIGH
    assert found.evidence["ring_overflow_packets"] == {"eth0": 7}


@pytest.mark.parametrize(
    ("settings", "ids"),
    [
        ({"netdev_budget": 600, "netdev_budget_usecs": 2000}, ["raise-budget-time"]),
        ({"netdev_budget": 599, "netdev_budget_usecs": 16000}, ["raise-budget"]),
        ({"netdev_budget": 900, "netdev_budget_usecs": 20000}, []),
        ({}, []),
    ],
)
def test_only_what_is_small_is_raised(settings, ids):
    assert [fix.id for fix in outcome(200, settings=settings).findings[0].fixes] == ids


@pytest.mark.parametrize(
    ("squeezed", "runs"), [(99, 200), (100, 10_001)], ids=["under 10/s", "under 1 %"]
)
def test_it_stays_quiet(squeezed, runs):
    assert outcome(squeezed, runs).status is Status.PASSED


def test_both_limits_are_met():
    assert outcome(100, 10_000).status is Status.FINDING


def test_history_does_not_count():
    before = softnet((9,), (9, 0, 200))

    assert outcome(200, earlier={"softnet": before}).status is Status.PASSED


def test_unknown_leaves_it_open():
    assert outcome(200, earlier={"softirqs": None}).status is Status.INCONCLUSIVE
    assert outcome(200, pps=10).status is Status.INCONCLUSIVE
    assert outcome(200, softirqs=None).status is Status.SKIPPED
