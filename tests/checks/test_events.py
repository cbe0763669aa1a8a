"""The events of an audit: one for each finding, host, lost host and drift."""

import dataclasses
import json

from dirtune.checks import Finding, Severity, events
from dirtune.checks.audits import Report
from tests.render import inputs

AT = "2026-12-01T03:00:00.000+00:00"


def of(report, drift=()):
    return [json.loads(events.line(event)) for event in events.of_report(report, drift, AT)]


def test_a_host_ends_with_its_own_event():
    found = of(inputs.REPORT)

    assert [event["kind"] for event in found] == [
        *("finding" for o in inputs.AUDIT.outcomes for _ in o.findings),
        "audited",
        "unreachable",
    ]
    assert {event["at"] for event in found} == {AT}
    assert [event["host"] for event in found][-2:] == ["lb1", "lb2"]
    assert found[-1]["message"] == "lb2: no route to host"
    assert all(event["data"]["evidence"] is not None for event in found[:-2])


def test_every_line_has_all_keys():
    keys = [set(event) for event in of(inputs.REPORT, inputs.FLEET.drift)]

    assert len({frozenset(each) for each in keys}) == 1


def test_drift_names_its_group_and_no_host():
    found = of(Report(()), inputs.FLEET.drift)

    assert len(found) == len(inputs.FLEET.drift) > 0
    assert {event["kind"] for event in found} == {"drift"}
    assert {event["host"] for event in found} == {None}
    assert found[0]["data"]["group"] == inputs.FLEET.drift[0].group


def test_a_name_with_a_newline_stays_in_one_line():
    evil = Finding("irq\n10", Severity.HIGH, "a\x1b[31m\nb")
    outcome = next(o for o in inputs.AUDIT.outcomes if o.findings)
    audit = dataclasses.replace(
        inputs.AUDIT, outcomes=(dataclasses.replace(outcome, findings=(evil,)),)
    )
    lines = [events.line(event) for event in events.of_report(Report((audit,)), (), AT)]

    assert all(line.isprintable() for line in lines)
    assert "\x1b" not in json.loads(lines[0])["message"]
