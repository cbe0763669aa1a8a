"""Render an audit as metrics for the textfile collector of node_exporter.

The labels are hosts, checks, severities, statuses, interfaces and the busiest interrupts, which
have few values. The subject of a finding is no label, because it may be any address.
"""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from dirtune.checks import Severity, Status
from dirtune.checks.audits import Report
from dirtune.checks.measures import Measures
from dirtune.escape import one_line

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_RECORDED = "recorded host"
_LONGEST = 100
_LONGEST_HOST = 253
"""Characters of the longest name in the DNS (RFC 1035)."""
_LARGEST = 1 << 64
_MOST_SERIES = 256
"""Series of one kind of one host; a host that lies could have any number of interfaces."""
_TOTALS = {
    "backlog_drops": "Packets dropped because a CPU's backlog was full, since boot.",
    "time_squeezes": "Runs of NET_RX that ended with packets left, since boot.",
    "ipvs_connections": "New connections of IPVS, since its counters were reset.",
}
_GAUGES = {
    "conntrack_entries": "Entries of the connection tracking table.",
    "conntrack_limit": "Most entries that the connection tracking table may have.",
    "ipvs_entries": "Entries of the IPVS connection table.",
    "ipvs_buckets": "Buckets of the IPVS connection table.",
}

_Series = dict[tuple[str, ...], float]
"""Values by the labels after the host."""


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
        host = _host(audit.host["name"])
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
    unreachable = Gauge(
        "dirtune_audit_unreachable",
        "1 for a host that could not be audited in full.",
        ("host",),
        registry=collector,
    )
    for name, _ in report.unreachable:
        unreachable.labels(_host(name)).set(1)
    measures = {
        _host(audit.host["name"]): audit.measures for audit in report.audits if audit.measures
    }
    _add_totals(collector, measures)
    _add_rates(collector, measures)
    Gauge(
        "dirtune_audit_timestamp_seconds",
        "Time of the audit, in seconds since 1970.",
        registry=collector,
    ).set(at_s)
    return collector


def _add_totals(collector: "CollectorRegistry", measures: Mapping[str, Measures]) -> None:
    """Add the numbers that need one sample; a number that is unknown has no series."""
    from prometheus_client import Counter as Total  # noqa: PLC0415
    from prometheus_client import Gauge, disable_created_metrics  # noqa: PLC0415

    # The times at which this process made its counters would be a series each.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    for name, about in _TOTALS.items():
        total = Total(f"dirtune_{name}", about, ("host",), registry=collector)
        for host, values in measures.items():
            value = getattr(values, name)
            if _possible(value):
                total.labels(host).inc(value)
    for name, about in _GAUGES.items():
        gauge = Gauge(f"dirtune_{name}", about, ("host",), registry=collector)
        for host, values in measures.items():
            value = getattr(values, name)
            if _possible(value):
                gauge.labels(host).set(value)


def _add_rates(collector: "CollectorRegistry", measures: Mapping[str, Measures]) -> None:
    """Add the numbers that need two samples or a probe."""
    from prometheus_client import Gauge  # noqa: PLC0415

    losses = Gauge(
        "dirtune_nic_lost_packets_per_second",
        "Packets/s that a NIC lost because its ring was full, between the audit's two samples.",
        ("host", "interface"),
        registry=collector,
    )
    interrupts = Gauge(
        "dirtune_interrupts_per_second",
        "Interrupts/s on one of the busiest lines, between the audit's two samples.",
        ("host", "irq", "actions"),
        registry=collector,
    )
    wasted = Gauge(
        "dirtune_wasted_handler_ratio",
        "Share of one CPU, 0 to 1, in handlers that found nothing to do on a NIC's interrupt "
        "line. Only an audit with --probe measures it.",
        ("host", "irq"),
        registry=collector,
    )
    omitted = Gauge(
        "dirtune_audit_series_omitted",
        f"Number of series of a host that are left out: each metric has at most {_MOST_SERIES} "
        "for one host, those with the largest values.",
        ("host",),
        registry=collector,
    )
    for host, values in measures.items():
        rates: _Series = {
            (line.irq, ", ".join(line.actions)): line.per_second for line in values.interrupts
        }
        losing: _Series = {(interface,): rate for interface, rate in values.nic_losses.items()}
        wasting: _Series = {(irq,): share for irq, share in values.wasted.items()}
        left_out = 0
        for gauge, series in ((losses, losing), (interrupts, rates), (wasted, wasting)):
            possible = [labels for labels, value in series.items() if _possible(value)]
            possible.sort(key=lambda labels: -series[labels])
            for labels in possible[:_MOST_SERIES]:
                short = (one_line(label)[:_LONGEST] for label in labels)
                gauge.labels(host, *short).set(series[labels])
            left_out += len(possible[_MOST_SERIES:])
        omitted.labels(host).set(left_out)


def _host(name: str | None) -> str:
    return one_line(str(name or _RECORDED))[:_LONGEST_HOST]


def _possible(value: float | None) -> bool:
    """Whether *value* is known, and can be a number of the kernel; else it has no series."""
    return value is not None and 0 <= value <= _LARGEST
