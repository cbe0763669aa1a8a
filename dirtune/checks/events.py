"""Events for log pipelines: one JSON object per finding, host, drift or firing. Pure data."""

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from dirtune.analyse.words import counted
from dirtune.checks import documents
from dirtune.checks.audits import Audit, Report, gravest
from dirtune.checks.fleet import FleetDrift
from dirtune.escape import one_line

Kind = Literal["finding", "audited", "unreachable", "drift", "fired", "captured", "capture-failed"]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `--format jsonl`; a key that has no meaning for a kind of event is null."""

    schema: Literal["dirtune/event/1"] = "dirtune/event/1"

    at: str
    """The time of the event, in UTC (ISO 8601)."""
    kind: Kind
    """`audited` ends the findings of a host. `fired`, `captured` and `capture-failed` are of
    `dirtune watch`."""
    host: str | None = None
    """The host; null for findings and drift that concern several hosts."""
    severity: str | None = None
    """The severity of the finding; for `audited`, the highest one that is not waived."""
    check: str | None = None
    subject: str | None = None
    message: str
    """A sentence that says what happened."""
    data: object = None
    """The finding of `dirtune/audit/1`, the summary of the audit, the drift of `dirtune/fleet/1`,
    the conditions of `dirtune/watch/1` that fired, or the folder of the capture."""


def of_report(report: Report, drift: Sequence[FleetDrift], at: str) -> Iterator[Event]:
    """Yield the findings of each host and then the host itself, the hosts lost, and the drift."""
    for audit in report.audits:
        yield from _findings(audit, audit.host["name"], at)
        yield _audited(audit, at)
    if report.cross:
        yield from _findings(report.cross, None, at)
    for host, reason in report.unreachable:
        yield Event(at=at, kind="unreachable", host=host, message=one_line(reason))
    for row in drift:
        yield _drift(row, at)


def _findings(audit: Audit, host: str | None, at: str) -> Iterator[Event]:
    for outcome in documents.of_audit(audit)["outcomes"]:
        for finding in outcome["findings"]:
            yield Event(
                at=at,
                kind="finding",
                host=host,
                severity=finding["severity"],
                check=outcome["check"],
                subject=one_line(finding["subject"]),
                message=one_line(finding["message"]),
                data=finding,
            )


def _audited(audit: Audit, at: str) -> Event:
    worst = gravest((audit,))
    totals = documents.summary(audit)
    findings = sum(len(o.findings) for o in audit.outcomes) - totals["waived"]
    undecided = sum(totals.get(name, 0) for name in ("skipped", "inconclusive", "error"))
    return Event(
        at=at,
        kind="audited",
        host=audit.host["name"],
        severity=worst.value if worst else None,
        message=f"The audit reported {counted(findings, 'finding')} that no waiver accepts; "
        f"{counted(undecided, 'check')} could not be decided.",
        data={"roles": list(audit.roles), "summary": totals},
    )


def _drift(row: FleetDrift, at: str) -> Event:
    hosts = counted(sum(len(value.hosts) for value in row.values), "host")
    return Event(
        at=at,
        kind="drift",
        subject=one_line(f"{row.group}: {row.section} {row.name}"),
        message=one_line(
            f"{row.section} {row.name} has {counted(len(row.values), 'value')} on {hosts} of the "
            f"group {row.group}."
        ),
        data=row,
    )


def line(event: Event) -> str:
    """Return the event as one line of JSON."""
    return msgspec.json.encode(event).decode()
