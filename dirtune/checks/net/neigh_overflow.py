from collections.abc import Mapping

from dirtune.analyse import rates
from dirtune.checks import Finding, Severity, Verdicts, check, inconclusive, skipped
from dirtune.checks.counters import age_s
from dirtune.checks.remedies import sysctl
from dirtune.collect import log_messages
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Snapshot

_FULL_PERCENT = 80
_FIRST_STEP = 4096  # entries, gc_thresh1; gc_thresh2 is twice and gc_thresh3 four times that
_NAMES = {"ipv4": "ARP", "ipv6": "IPv6 neighbour"}
# Old kernels name the protocol instead of the table: `ipv4: Neighbour table overflow.`
_CACHES = {"ipv4": ("arp_cache", "ipv4: "), "ipv6": ("ndisc_cache", "ipv6: ")}
_DAY_S = 86_400


@check(
    "net/neigh-overflow",
    severity=Severity.HIGH,
    trust="A",
    mends=True,
)
def neigh_overflow(snapshot: Snapshot, sysctls: Sysctls) -> Verdicts:
    """The neighbour table is at its limit.

    ## What it does
    The check compares two samples of /proc/net/stat/arp_cache and ndisc_cache. The finding is
    `high` if `table_fulls` rose. If the counter is not in both samples, it is `high` if the kernel
    log reports an overflow in the last day. It is `medium` if a table holds 80 % of `gc_thresh3`
    entries or more. Permanent IPv4 entries do not count.

    ## Why it matters
    At the limit the kernel cannot add a neighbour, so it drops packets to a real server or gateway
    that is not in the table yet. The default limit is 1,024 entries. A director on a large flat
    network, or on a network with many containers, has more neighbours.

    ## Remediation
    Set `gc_thresh1`, `gc_thresh2` and `gc_thresh3` to 4,096, 8,192 and 16,384. If 16,384 is less
    than twice the number of entries, use greater values.

    ## Known problems
    The kernel counts the entries of all network namespaces, but the check can subtract only the
    permanent entries of its own namespace. No file shows which IPv6 entries are permanent, so all
    IPv6 entries count. The limits can be read only in the first namespace.

    ## References
    - Documentation/networking/ip-sysctl.rst, `neigh/default/gc_thresh3`
    - net/core/neighbour.c, `neigh_alloc()`
    """
    for family in snapshot.neighbours or ():
        yield from _judged(snapshot, sysctls, family)
    if snapshot.neighbours is None:
        for family in _NAMES:
            if _reported(snapshot, family):
                yield _finding(snapshot, sysctls, family, None)
        yield skipped(
            snapshot.errors.get("neighbours") or "the record contains no neighbour table"
        )


def _judged(snapshot: Snapshot, sysctls: Sysctls, family: str) -> Verdicts:
    table = (snapshot.neighbours or {})[family]
    entries, limit = _entries(table), _limit(sysctls, family)
    rise = _rise(snapshot, family)
    reports = _reported(snapshot, family)
    percent = 100 * table["entries"] / limit if limit and "entries" in table else None
    if rise or (rise is None and reports):
        yield _finding(snapshot, sysctls, family, rise)
    elif percent is None:
        yield inconclusive(
            f"gc_thresh3 or the number of entries of the {_NAMES[family]} table is unknown"
        )
    elif percent >= _FULL_PERCENT and entries is None and family == "ipv4":
        yield inconclusive("the permanent entries of the ARP table are unknown")
    elif _full(family, table, limit):
        yield _finding(snapshot, sysctls, family, rise)
    elif rise is None and table.get("table_fulls") != 0:
        yield inconclusive(
            f"table_fulls of the {_NAMES[family]} table is missing from at least one of "
            "the two samples, so the table may have been full"
        )


def _full(family: str, table: Mapping[str, int], limit: int | None) -> bool:
    entries = _entries(table) if family == "ipv4" else table.get("entries")
    return bool(limit) and entries is not None and 100 * entries >= _FULL_PERCENT * (limit or 0)


def _entries(table: Mapping[str, int]) -> int | None:
    """Return the number of entries that count towards the limit; None if it is unknown."""
    if "entries" not in table or "permanent" not in table:
        return None
    return max(0, table["entries"] - table["permanent"])


def _limit(sysctls: Sysctls, family: str) -> int | None:
    return sysctls.number(f"net/{family}/neigh/default/gc_thresh3")


def _rise(snapshot: Snapshot, family: str) -> int | None:
    before = (snapshot.earlier.neighbours if snapshot.earlier else None) or {}
    then, now = before.get(family, {}), (snapshot.neighbours or {})[family]
    return rates.increase(then.get("table_fulls"), now.get("table_fulls"))


def _reported(snapshot: Snapshot, family: str) -> tuple[str, ...]:
    """Return the kernel's messages of the last day about an overflow of the table."""
    return tuple(
        line.text
        for line in log_messages.NEIGHBOURS.lines(snapshot.kernel_log)
        if any(name in line.text.lower() for name in _CACHES[family])
        and (age_s(snapshot, line) or 0) <= _DAY_S
    )


def _finding(snapshot: Snapshot, sysctls: Sysctls, family: str, rise: int | None) -> Finding:
    table, limit = (snapshot.neighbours or {}).get(family, {}), _limit(sysctls, family)
    facts = [] if not rise else [f"was full {rise:,} times in {snapshot.seconds or 0:.0f} s"]
    reports = _reported(snapshot, family)
    if reports and not rise:
        facts.append("overflowed in the last day, as the kernel log reports")
    if "entries" in table:
        most = "an unknown number of" if limit is None else f"{limit:,}"
        facts.append(f"holds {table['entries']:,} of {most} entries (gc_thresh3)")
    step = _FIRST_STEP
    while 4 * step <= max(limit or 0, 2 * table.get("entries", 0)):
        step *= 2
    values = {
        f"net/{family}/neigh/default/gc_thresh{n}": step * factor
        for n, factor in ((1, 1), (2, 2), (3, 4))
    }
    return Finding(
        subject=f"{_NAMES[family]} table",
        severity=Severity.HIGH if rise or reports else Severity.MEDIUM,
        message=f"The {_NAMES[family]} table {' and '.join(facts)}",
        evidence={
            "family": family,
            "entries": table.get("entries"),
            "permanent": table.get("permanent"),
            "gc_thresh3": limit,
            "table_fulls_rise": rise,
            "log": list(reports[-3:]),
        },
        fixes=(
            sysctl(
                snapshot,
                "raise-gc-thresh",
                f"Let the {_NAMES[family]} table hold more entries",
                values,
            ),
        ),
    )
