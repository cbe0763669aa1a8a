from collections.abc import Iterator, Mapping

from dirtune.analyse import rates
from dirtune.checks import Finding, Fix, Severity, Verdicts, check, inconclusive
from dirtune.checks.conntrack import BUCKETS, COUNT, MOST, VS_CONNTRACK, stop_tracking
from dirtune.checks.counters import age_s
from dirtune.checks.remedies import sysctl
from dirtune.checks.together import listed
from dirtune.collect import log_messages
from dirtune.snapshot import Snapshot

_HIGH_PERCENT, _MEDIUM_PERCENT = 90, 75
_RECENT_S = 3600  # a message of the log; an estimate, not calibrated
_LEAST_MAX = 1 << 20
_ENTRY_BYTES = 320


@check(
    "conntrack/table-full",
    severity=Severity.CRITICAL,
    trust="A",
    needs=("sysctls",),
    mends=True,
)
def table_full(snapshot: Snapshot) -> Verdicts:
    """The connection tracking table is full, or nearly full.

    ## What it does
    The finding is `critical` in three cases: `drop` or `early_drop` rose between two samples;
    `insert_failed` rose and the table is 75 % full or more; the kernel log has the message
    `nf_conntrack: table full, dropping packet` of the last hour (`ip_conntrack` on old kernels). A
    table that is 90 % full or more is `high`. A table that is 75 % full or more, or an older
    message in the log, is `medium`. A table without entries is not reported. In a table that is
    less than 75 % full, `insert_failed` does not count, because it rises when packets of one flow
    race each other.

    ## Why it matters
    If the table is full, the kernel drops new flows of every service on the host, including SSH
    and health checks.

    ## Remediation
    Raise `nf_conntrack_max` together with `nf_conntrack_buckets`; an entry takes 256 to 320 bytes.
    Or shorten timeouts, or stop tracking IPVS's packets (`conntrack/needless`).

    ## Known problems
    The check sees the limits and counts of this network namespace only; `nf_conntrack_buckets` can
    be written only in the first namespace. Since about kernel 5.15, the default limit is one entry
    per bucket instead of four, so a kernel upgrade may lower the limit.

    ## References
    - net/netfilter/nf_conntrack_core.c, `__nf_conntrack_alloc()`, `early_drop()`
    - Documentation/networking/nf_conntrack-sysctl.rst
    """
    count, most = snapshot.sysctl(COUNT), snapshot.sysctl(MOST)
    if count == 0:
        return
    percent, rises = _percent(snapshot), _rises(snapshot)
    severity, facts = _worst(snapshot, percent, rises)
    if severity is not None:
        yield Finding(
            subject="nf_conntrack",
            severity=severity,
            message=_message(percent, facts),
            evidence={
                "entries": count,
                "max": most,
                "buckets": snapshot.sysctl(BUCKETS),
                "percent": None if percent is None else round(percent, 1),
                "rises": dict(rises or {}),
                "seconds": snapshot.seconds,
                "log": [text for _, text in _messages(snapshot)][-3:],
            },
            fixes=_fixes(snapshot, most),
        )
    elif percent is None:
        yield inconclusive("nf_conntrack_count or nf_conntrack_max could not be read")


def _message(percent: float | None, facts: tuple[str, ...]) -> str:
    filled = percent is not None and percent >= _MEDIUM_PERCENT
    state = f"is {percent:.0f} % full" if filled else "was full"
    return f"The connection tracking table {state}{': ' + listed(facts) if facts else ''}"


def lacks_room(snapshot: Snapshot) -> bool:
    """Whether the table is so full that this check reports it."""
    return (
        bool(snapshot.sysctl(COUNT))
        and _worst(snapshot, _percent(snapshot), _rises(snapshot))[0] is not None
    )


def _percent(snapshot: Snapshot) -> float | None:
    count, most = snapshot.sysctl(COUNT), snapshot.sysctl(MOST)
    return 100 * count / most if count is not None and most else None


def _worst(
    snapshot: Snapshot, percent: float | None, rises: Mapping[str, int] | None
) -> tuple[Severity | None, tuple[str, ...]]:
    filled = percent is not None and percent >= _MEDIUM_PERCENT
    lost = dict(rises or {})
    if not filled:
        lost.pop("insert_failed", None)
    facts = [f"{name} rose by {rise:,}" for name, rise in lost.items() if rise]
    ages = [age for age, _ in _messages(snapshot)]
    if ages:
        lines = "kernel message reports" if len(ages) == 1 else "kernel messages report"
        facts.append(f"{len(ages)} {lines} a full table")
    recent = any(age is not None and age <= _RECENT_S for age in ages)
    if recent or any(lost.values()):
        return Severity.CRITICAL, tuple(facts)
    if percent is not None and percent >= _HIGH_PERCENT:
        return Severity.HIGH, tuple(facts)
    return (Severity.MEDIUM if filled or facts else None), tuple(facts)


def _rises(snapshot: Snapshot) -> Mapping[str, int] | None:
    """Return how much each counter of lost flows rose; None without two samples."""
    before = snapshot.earlier.conntrack if snapshot.earlier else None
    if before is None or snapshot.conntrack is None:
        return None
    increases = {
        name: rates.increase(before.get(name), snapshot.conntrack.get(name))
        for name in ("drop", "early_drop", "insert_failed")
    }
    return {name: rise for name, rise in increases.items() if rise is not None}


def _messages(snapshot: Snapshot) -> Iterator[tuple[float | None, str]]:
    """Yield each kernel message about a full table, with its age in seconds (None if unknown)."""
    for line in log_messages.CONNTRACK_FULL.lines(snapshot.kernel_log):
        yield age_s(snapshot, line), line.text


def _fixes(snapshot: Snapshot, most: int | None) -> tuple[Fix, ...]:
    new = max(_LEAST_MAX, 1 << (2 * (most or 0) - 1).bit_length()) if most else _LEAST_MAX
    values = {MOST: new, BUCKETS: new // 4}
    title = f"Raise the limit to {new:,} entries, which take up to {new * _ENTRY_BYTES >> 20} MiB"
    raised = sysctl(snapshot, "raise-conntrack-max", title, values)
    tracked = snapshot.services and snapshot.sysctl(VS_CONNTRACK)
    return (raised, *stop_tracking(snapshot)) if tracked else (raised,)
