"""Render an audit as metrics for the textfile collector of node_exporter.

The labels are hosts, checks, severities and statuses, which have few values. The subject of a
finding is no label, because it may be any address.
"""

from collections import Counter
from typing import TYPE_CHECKING

from dirtune.checks import Severity, Status
from dirtune.checks.audits import Report
from dirtune.escape import one_line

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_RECORDED = "recorded host"


def registry(report: Report, at_s: float) -> "CollectorRegistry":
    """Return the metrics of *report* without waived findings; *at_s* is in seconds since 1970."""
    from prometheus_client import CollectorRegistry, Gauge  # noqa: PLC0415  (no start pays for it)

    collector = CollectorRegistry()
    totals = Gauge(
        "dirtune_audit_findings",
        "Number of findings on a host.",
        ("host", "severity"),
        registry=collector,
    )
    by_check = Gauge(
        "dirtune_audit_finding",
        "Number of findings of a check on a host.",
        ("host", "check", "severity"),
        registry=collector,
    )
    checks = Gauge(
        "dirtune_audit_checks",
        "Number of checks on a host by status. "
        "A check that is skipped or inconclusive may hide a finding.",
        ("host", "status"),
        registry=collector,
    )
    for audit in report.parts:
        host = one_line(str(audit.host["name"] or _RECORDED))
        for status in Status:
            number = sum(outcome.status is status for outcome in audit.outcomes)
            checks.labels(host, status.value).set(number)
        rows = Counter(
            (outcome.check.id, finding.severity)
            for outcome in audit.outcomes
            for finding in outcome.findings
            if not finding.waived
        )
        for severity in Severity:
            number = sum(n for (_, graveness), n in rows.items() if graveness is severity)
            totals.labels(host, severity.value).set(number)
        for (check, graveness), number in rows.items():
            by_check.labels(host, check, graveness.value).set(number)
    Gauge(
        "dirtune_audit_timestamp_seconds",
        "Time of the audit, in seconds since 1970.",
        registry=collector,
    ).set(at_s)
    return collector
