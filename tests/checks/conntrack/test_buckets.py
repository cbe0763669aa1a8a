import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.conntrack.buckets import buckets
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Snapshot

NF = "net/netfilter/nf_conntrack"


def table(**values):
    found = {f"{NF}_{name}": str(value) for name, value in values.items()}
    return run((buckets,), Snapshot(sysctls=Sysctls(found)))[0]


@pytest.mark.parametrize(
    ("count", "severity"), [(2048, Severity.LOW), (8191, Severity.LOW), (8192, Severity.MEDIUM)]
)
def test_long_chains(count, severity):
    (found,) = table(count=count, max=8192, buckets=1024).findings

    assert found.severity is severity
    assert found.evidence == {"entries": count, "buckets": 1024, "max": 8192}
    assert found.fixes[0].commands[0] == "sysctl -w 'net.netfilter.nf_conntrack_buckets=2048'"


@pytest.mark.parametrize(
    "values",
    [
        {"count": 2047, "max": 8192, "buckets": 1024},
        {"count": 262144, "max": 262144, "buckets": 262144},
        {"count": 8000, "max": 8191, "buckets": 1024},
    ],
    ids=["short", "defaults", "limited"],
)
def test_short_chains(values):
    assert table(**values).status is Status.PASSED


def test_a_table_that_is_not_there_or_not_known():
    assert table().status is Status.NOT_APPLICABLE
    assert table(max=8192, buckets=1024).status is Status.INCONCLUSIVE
    assert run((buckets,), Snapshot())[0].status is Status.SKIPPED
