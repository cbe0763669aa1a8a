import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.conntrack.table_full import table_full
from dirtune.collect.log_messages import LogLine
from tests.checks.machines import director, service

NF = "net/netfilter/nf_conntrack_"
DROPPING = "nf_conntrack: nf_conntrack: table full, dropping packet"


def outcome(count=10, most=1000, *services, vs_conntrack=0, **fields):
    values = {f"{NF}count": count, f"{NF}max": most, f"{NF}buckets": 250}
    known = {name: value for name, value in values.items() if value is not None}
    sysctls = known | {"conntrack": vs_conntrack}
    return run((table_full,), director(*services, sysctls=sysctls, **fields))[0]


def risen(name, *, count=10):
    counters = {"drop": 0, "early_drop": 0, "insert_failed": 0}
    return outcome(count, conntrack=counters | {name: 7}, earlier={"conntrack": counters})


@pytest.mark.parametrize(
    ("count", "severity"), [(750, Severity.MEDIUM), (899, Severity.MEDIUM), (900, Severity.HIGH)]
)
def test_how_full(count, severity):
    (found,) = outcome(count).findings

    assert (found.subject, found.severity) == ("nf_conntrack", severity)
    assert found.evidence["percent"] == count / 10
    assert (found.evidence["max"], found.evidence["buckets"]) == (1000, 250)


@pytest.mark.parametrize("name", ["drop", "early_drop"])
def test_flows_are_lost(name):
    (found,) = risen(name).findings

    assert found.severity is Severity.CRITICAL
    assert found.evidence["rises"][name] == 7


def test_insertions_fail_in_a_table_that_is_nearly_full_only():
    assert risen("insert_failed", count=749).status is Status.PASSED
    (found,) = risen("insert_failed", count=750).findings
    assert found.severity is Severity.CRITICAL


@pytest.mark.parametrize(
    ("seconds", "severity"),
    [(3000.0, Severity.CRITICAL), (2000.0, Severity.MEDIUM), (None, Severity.MEDIUM)],
)
def test_the_log_says_so(seconds, severity):
    log = (LogLine(1.0, "eth0: up"), LogLine(seconds, DROPPING))
    (found,) = outcome(kernel_log=log, taken_s=6000.0).findings

    assert found.severity is severity
    assert found.evidence["log"] == [DROPPING]


@pytest.mark.parametrize(
    "quiet",
    [
        lambda: outcome(749),
        lambda: outcome(0, 0),
        lambda: outcome(conntrack={"drop": 9, "early_drop": 9}),
        lambda: outcome(conntrack={"drop": 1}, earlier={"conntrack": {"drop": 5}}),
        lambda: outcome(conntrack={"drop": 5}, earlier={"conntrack": {"drop": 5}}),
    ],
)
def test_room_is_left(quiet):
    assert quiet().status is Status.PASSED


@pytest.mark.parametrize(("count", "most"), [(None, 1000), (10, None)])
def test_what_is_not_known_leaves_it_open(count, most):
    assert outcome(count, most).status is Status.INCONCLUSIVE


def test_a_fix_doubles_it_to_a_million_at_least():
    small, large = (outcome(900 * n, 1000 * n).findings[0].fixes[0] for n in (1, 1024))

    assert small.commands[:2] == (
        "sysctl -w 'net.netfilter.nf_conntrack_max=1048576'",
        "sysctl -w 'net.netfilter.nf_conntrack_buckets=262144'",
    )
    assert "sysctl -w 'net.netfilter.nf_conntrack_max=2097152'" in large.commands
    assert "up to 320 MiB" in small.title


def test_a_director_may_stop_tracking_instead():
    fixes = outcome(900, 1000, service(1), vs_conntrack=1).findings[0].fixes

    assert [fix.id for fix in fixes] == ["raise-conntrack-max", "stop-tracking-services"]
    assert len(outcome(900, 1000, service(1), vs_conntrack=0).findings[0].fixes) == 1
