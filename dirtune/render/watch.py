"""Render the report of what `dirtune watch` kept, and its counters for Prometheus."""

from collections.abc import Sequence

from dirtune.analyse.profile import Profile
from dirtune.checks.audits import Audit
from dirtune.render import audit as audits
from dirtune.render import cells
from dirtune.render import profile as profiles
from dirtune.render.markdown import escaped, inline_code
from dirtune.watch.documents import Counts, Evidence, Second

_COLUMNS = {
    "busy %": "busy_percent",
    "softirq %": "softirq_percent",
    "on CPU": "softirq_cpu",
    "interrupts/s": "interrupts_per_second",
    "backlog drops/s": "softnet_dropped_per_second",
    "squeezed/s": "time_squeeze_per_second",
    "received/s": "rx_packets_per_second",
    "rx dropped/s": "rx_dropped_per_second",
    "IPVS conn/s": "connections_per_second",
}


def report(
    evidence: Evidence,
    message: str,
    before: Sequence[Second],
    profile: Profile | None,
    audit: Audit | None,
) -> str:
    """Return the report as Markdown: what fired, the seconds before, the profile, the audit."""
    watched = ", ".join(map(inline_code, evidence.watched))
    where = f"{escaped(evidence.host)}, Linux {escaped(evidence.kernel)}"
    parts = [
        f"# {escaped(message)}",
        f"{where}, {evidence.at}, dirtune {evidence.version}. Watched conditions: {watched}.",
        *(f"Missing: {escaped(reason.removesuffix('.'))}." for reason in evidence.missing),
        "## The time before",
        _table(before),
    ]
    if profile is not None:
        head = f"## Profile of the {profile.seconds:.0f} s after"
        parts += [head, profiles.markdown(profile).strip()]
    if audit is not None:
        parts.append(
            audits.markdown(audit).replace("\n#", "\n##").replace("# Audit", "## Audit", 1)
        )
    return "\n\n".join(parts) + "\n"


def _table(before: Sequence[Second]) -> str:
    """Return the newest sample first; columns without a value, and busy metrics, are left out."""
    columns = {
        head: field
        for head, field in _COLUMNS.items()
        if any(getattr(second, field) is not None for second in before)
    }
    rows = [
        (
            f"-{second.before_s:.0f} s" if round(second.before_s) else "firing",
            *(_cell(getattr(second, field)) for field in columns.values()),
            *(_cell(second.watched[name].get("")) for name in _watched(before)),
        )
        for second in reversed(before)
    ]
    heads = ("time", *columns, *_watched(before))
    return cells.table(rows, heads, "github", ("left", *("right" for _ in heads[1:])))


def _watched(before: Sequence[Second]) -> tuple[str, ...]:
    """Return the watched metrics that have a value for the whole host."""
    names = dict.fromkeys(name for second in before for name in second.watched)
    return tuple(n for n in names if any("" in second.watched.get(n, {}) for second in before))


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:,.10g}"


def metrics(whens: Sequence[str], counts: Counts) -> bytes:
    """Return the counters in the text format of Prometheus.

    The only label is what the user wrote in --when, so the number of its values is bounded.
    """
    from prometheus_client import (  # noqa: PLC0415  (no start pays for it)
        CollectorRegistry,
        Counter,
        Gauge,
        disable_created_metrics,
        generate_latest,
    )

    # The times at which this process made its counters would be a series each.
    disable_created_metrics()  # type: ignore[no-untyped-call]

    collector = CollectorRegistry()
    fired = Counter(
        "dirtune_watch_fired",
        "Number of samples in which a condition of --when came true.",
        ("when",),
        registry=collector,
    )
    for when in whens:
        fired.labels(when).inc(counts.fired[when])
    captures = Counter(
        "dirtune_watch_captures",
        "Number of folders of evidence, and of failures to keep one.",
        ("result",),
        registry=collector,
    )
    captures.labels("kept").inc(counts.captures)
    captures.labels("failed").inc(counts.failed)
    if counts.last_s is not None:
        Gauge(
            "dirtune_watch_last_fired_timestamp_seconds",
            "Time at which a condition came true last, in seconds since 1970.",
            registry=collector,
        ).set(counts.last_s)
    return generate_latest(collector)
