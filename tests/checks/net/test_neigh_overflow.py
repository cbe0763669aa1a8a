import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.net.neigh_overflow import neigh_overflow
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Snapshot


def table(entries, fulls=0, permanent=0):
    found = {"entries": entries, "table_fulls": fulls, "permanent": permanent}
    return {name: value for name, value in found.items() if value is not None}


def outcome(now, then=None, *, family="ipv4", limit=1000, **fields):
    settings = {} if limit is None else {f"net/{family}/neigh/default/gc_thresh3": str(limit)}
    earlier = None if then is None else Snapshot(neighbours={family: then}, taken_s=90.0)
    known = {"neighbours": {family: now}, "sysctls": Sysctls(settings)} | fields
    return run((neigh_overflow,), Snapshot(**known, taken_s=100.0, earlier=earlier))[0]


def test_the_table_was_full_meanwhile():
    (found,) = outcome(table(100, 7), table(100, 4)).findings

    assert (found.subject, found.severity) == ("ARP table", Severity.HIGH)
    assert found.message == (
        "The ARP table was full 3 times in 10 s and holds 100 of 1,000 entries (gc_thresh3)"
    )
    assert found.evidence["table_fulls_rise"] == 3
    assert found.fixes[0].commands[:3] == (
        "sysctl -w 'net.ipv4.neigh.default.gc_thresh1=4096'",
        "sysctl -w 'net.ipv4.neigh.default.gc_thresh2=8192'",
        "sysctl -w 'net.ipv4.neigh.default.gc_thresh3=16384'",
    )


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_nearly_full(family):
    (found,) = outcome(table(800), table(800), family=family).findings

    assert found.severity is Severity.MEDIUM
    assert (found.evidence["entries"], found.evidence["gc_thresh3"]) == (800, 1000)
    assert f"net.{family}.neigh" in found.fixes[0].commands[0]


@pytest.mark.parametrize(
    ("entries", "limit", "wanted"), [(16_384, 16_384, 65_536), (30_000, 4096, 65_536)]
)
def test_more_than_the_usual_where_that_is_too_little(entries, limit, wanted):
    (found,) = outcome(table(entries), table(entries), limit=limit).findings

    assert f"gc_thresh3={wanted}'" in found.fixes[0].commands[2]


@pytest.mark.parametrize("now", [table(799), table(900, permanent=101), table(5, 9)])
def test_room_is_left(now):
    assert outcome(now, table(0, now["table_fulls"])).status is Status.PASSED


def test_one_sample_of_a_table_that_was_never_full():
    assert outcome(table(5)).status is Status.PASSED


def test_what_is_not_known():
    assert outcome(table(5, 9)).status is Status.INCONCLUSIVE
    assert outcome(table(900, permanent=None)).status is Status.INCONCLUSIVE
    assert outcome(table(900), limit=None).status is Status.INCONCLUSIVE
    assert outcome(table(900), sysctls=None).status is Status.SKIPPED
    assert outcome(table(900), neighbours=None).status is Status.SKIPPED


def test_a_counter_that_was_set_back_is_no_rise():
    assert outcome(table(5, 2), table(5, 9)).status is Status.INCONCLUSIVE
