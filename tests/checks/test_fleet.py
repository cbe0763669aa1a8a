"""The summary of an audit of many hosts."""

import tracemalloc
from datetime import date

from dirtune.checks import Check, Finding, Outcome, Severity, Status, Waiver
from dirtune.checks.audits import Audit, Report
from dirtune.checks.fleet import _MOST_DRIFT, FleetLost, FleetUnread, FleetValue, summary


def check(name):
    return Check(name, Severity.LOW, "A", (), frozenset(), False, lambda snapshot: ())


def outcome(name, *severities, waived=None):
    findings = tuple(Finding(f"s{n}", s, "m", waived=waived) for n, s in enumerate(severities))
    return Outcome(check(name), Status.FINDING if findings else Status.PASSED, None, findings)


def undecided(name):
    return Outcome(check(name), Status.SKIPPED, "why")


def audit(host, *outcomes):
    return Audit({"name": host}, (), outcomes)


def drift(facts, groups=None):
    known = {host: {"sysctl": values} for host, values in facts.items()}
    audits = tuple(audit(host) for host in facts)
    return summary(Report(audits), groups or {"lb": tuple(facts)}, known)


def test_the_worst_host_comes_first_whatever_many_lesser_findings_others_have():
    low, high = Severity.LOW, Severity.HIGH
    report = Report(
        (
            audit("many", outcome("a/b", *[low] * 9)),
            audit("blind", undecided("a/b")),
            audit("sound", outcome("a/b")),
            audit("grave", outcome("a/b", high)),
        )
    )

    hosts = summary(report, {}, {}).hosts

    assert [host.host for host in hosts] == ["grave", "many", "blind", "sound"]
    assert hosts[1].findings == {"critical": 0, "high": 0, "medium": 0, "low": 9, "info": 0}
    assert hosts[2].undecided == 1


def test_findings_are_collected_by_check_with_the_gravest_first():
    report = Report(
        (
            audit("x", outcome("a/low", Severity.LOW), outcome("a/mixed", Severity.INFO)),
            audit("y", outcome("a/low", Severity.LOW), outcome("a/mixed", Severity.CRITICAL)),
        )
    )

    checks = summary(report, {}, {}).checks

    assert [(c.check, c.severity, c.hosts) for c in checks] == [
        ("a/mixed", "critical", ("x", "y")),
        ("a/low", "low", ("x", "y")),
    ]


def test_a_waived_finding_does_not_count():
    waiver = Waiver("a/b", "known", date(2027, 1, 1))
    report = Report((audit("x", outcome("a/b", Severity.HIGH, waived=waiver)),))

    found = summary(report, {}, {})

    assert found.checks == ()
    assert set(found.hosts[0].findings.values()) == {0}


def test_a_setting_that_one_host_has_otherwise_is_drift_and_the_others_are_not_named():
    (row,) = drift({"a": {"x": "1"}, "b": {"x": "2"}, "c": {"x": "1"}}).drift

    assert (row.group, row.section, row.name) == ("lb", "sysctl", "x")
    assert row.values == (FleetValue("1", ("a", "c")), FleetValue("2", ("b",)))
    assert row.common == FleetValue("1", ("a", "c"))


def test_a_host_without_the_setting_differs_from_one_whose_value_is_empty():
    (row,) = drift({"a": {"x": ""}, "b": {}}).drift

    assert set(row.values) == {FleetValue("", ("a",)), FleetValue(None, ("b",))}
    assert row.common is None  # one against one: neither is the rule


def test_hosts_are_compared_only_inside_their_groups():
    facts = {"a": {"x": "1"}, "b": {"x": "1"}, "c": {"x": "2"}}

    assert drift(facts, {"lb": ("a", "b"), "web": ("c",)}).drift == ()


def test_an_unread_section_is_named_and_is_no_drift():
    found = drift({"a": {"x": "1"}, "b": None, "c": {"x": "1"}})

    assert found.drift == ()
    assert found.unread == (FleetUnread("lb", "sysctl", ("b",)),)


def test_a_host_that_did_not_answer_is_named_and_not_compared():
    report = Report((audit("a"),), (("b", "b: no route"),))

    found = summary(report, {"lb": ("a", "b")}, {"a": {"sysctl": {"x": "1"}}})

    assert found.drift == ()
    assert found.unreachable == (FleetLost("b", "b: no route"),)


def test_a_host_that_invents_settings_does_not_fill_the_summary():
    found = drift({"a": {}, "liar": {f"{n}{'y' * 1000}": "z" * 10_000 for n in range(3000)}})

    assert len(found.drift) == _MOST_DRIFT
    assert found.drift_omitted == 3000 - _MOST_DRIFT
    assert max(len(v.value or "") for row in found.drift for v in row.values) == 300
    assert max(len(row.name) for row in found.drift) == 300


def test_what_is_left_out_is_never_built():
    # 50,000 settings of 200 hosts; each row that is built names 200 hosts.
    liar = {f"{n}": "z" for n in range(50_000)}
    hosts = {f"lb{n}": {} for n in range(199)} | {"liar": liar}
    tracemalloc.start()
    try:
        found = drift(hosts)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert (len(found.drift), found.drift_omitted) == (_MOST_DRIFT, 50_000 - _MOST_DRIFT)
    assert most < 64 << 20
