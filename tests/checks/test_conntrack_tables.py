"""conntrack/buckets and conntrack/timeouts-nat."""

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.conntrack.buckets import buckets
from dirtune.checks.conntrack.timeouts_nat import timeouts_nat
from dirtune.collect.ipvs_netlink import Ipvs
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Snapshot
from tests.checks.machines import service

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


def timeouts(established, fin_wait, *, tracked=1, ipvs=(900, 120)):
    values = {
        f"{NF}_tcp_timeout_established": str(established),
        f"{NF}_tcp_timeout_fin_wait": str(fin_wait),
        "net/ipv4/vs/conntrack": str(tracked),
    }
    known = Ipvs(timeouts_s=dict(zip(("tcp", "tcp_fin"), ipvs, strict=True)))
    taken = Snapshot(services=(service(1),), sysctls=Sysctls(values), ipvs=known)
    return run((timeouts_nat,), taken)[0]


def test_five_days_against_fifteen_minutes():
    (found,) = timeouts(432000, 120).findings

    assert found.subject == "nf_conntrack_tcp_timeout_established"
    assert "outlives its IPVS entry: 432,000 s against 900 s" in found.message
    wanted = "sysctl -w 'net.netfilter.nf_conntrack_tcp_timeout_established=900'"
    assert found.fixes[0].commands[0] == wanted


def test_a_state_that_dies_first():
    (found,) = timeouts(900, 12).findings

    assert "dies before its IPVS entry: 12 s against 120 s" in found.message


@pytest.mark.parametrize("values", [(900, 120), (8999, 13), (91, 1199)])
def test_timeouts_of_the_same_order(values):
    assert timeouts(*values).status is Status.PASSED


def test_without_tracking_there_is_nothing_to_compare():
    assert timeouts(432000, 120, tracked=0).status is Status.NOT_APPLICABLE
    assert timeouts(900, 120, ipvs=(0, 120)).status is Status.INCONCLUSIVE
    assert run((timeouts_nat,), Snapshot())[0].status is Status.SKIPPED
