from collections.abc import Mapping

from dirtune.analyse import rates
from dirtune.checks import Finding, Severity, Verdicts, check, inconclusive
from dirtune.checks.remedies import sysctl
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Snapshot

_FULL_PERCENT = 80
_FIRST_STEP = 4096  # entries, gc_thresh1; twice and four times that are gc_thresh2 and 3
_NAMES = {"ipv4": "ARP", "ipv6": "IPv6 neighbour"}


@check(
    "net/neigh-overflow",
    severity=Severity.HIGH,
    trust="A",
    mends=True,
)
def neigh_overflow(
    snapshot: Snapshot, neighbours: Mapping[str, Mapping[str, int]], sysctls: Sysctls
) -> Verdicts:
    """The neighbour table is at its limit.

    ## What it does
    The check reports as `high` that `table_fulls` of /proc/net/stat/arp_cache or ndisc_cache rose
    between two samples, and as `medium` a table with 80 % or more of `gc_thresh3` entries.
    Permanent entries of IPv4 do not count.

    ## Why it matters
    At the limit the kernel can take no new neighbour: packets to a real server or a gateway that
    is not in the table yet are dropped. A director on a large flat network, or on a network of
    many containers, has more neighbours than the default of 1,024.

    ## Remediation
    Set `gc_thresh1`, `gc_thresh2` and `gc_thresh3` to 4,096, 8,192 and 16,384, or to more where
    the last is less than twice the entries of the table.

    ## Known problems
    The entries are those of all network namespaces, but the permanent ones are only those of this
    namespace. No file shows which entries of IPv6 are permanent, so all of them count. The limits
    belong to the first namespace; another namespace shows none of them.

    ## References
    - Documentation/networking/ip-sysctl.rst, `neigh/default/gc_thresh3`
    - net/core/neighbour.c, `neigh_alloc()`
    """
    for family in neighbours:
        yield from _judged(snapshot, sysctls, family)


def _judged(snapshot: Snapshot, sysctls: Sysctls, family: str) -> Verdicts:
    table = (snapshot.neighbours or {})[family]
    entries, limit = _entries(table), _limit(sysctls, family)
    rise = _rise(snapshot, family)
    percent = 100 * table["entries"] / limit if limit and "entries" in table else None
    if rise:
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
            f"table_fulls of the {_NAMES[family]} table was not read in both samples, so the "
            "table may have been full"
        )


def _full(family: str, table: Mapping[str, int], limit: int | None) -> bool:
    entries = _entries(table) if family == "ipv4" else table.get("entries")
    return bool(limit) and entries is not None and 100 * entries >= _FULL_PERCENT * (limit or 0)


def _entries(table: Mapping[str, int]) -> int | None:
    """Return the entries that count towards the limit; None if the permanent ones are unknown."""
    if "entries" not in table or "permanent" not in table:
        return None
    return max(0, table["entries"] - table["permanent"])


def _limit(sysctls: Sysctls, family: str) -> int | None:
    return sysctls.number(f"net/{family}/neigh/default/gc_thresh3")


def _rise(snapshot: Snapshot, family: str) -> int | None:
    before = (snapshot.earlier.neighbours if snapshot.earlier else None) or {}
    then, now = before.get(family, {}), (snapshot.neighbours or {})[family]
    return rates.increase(then.get("table_fulls"), now.get("table_fulls"))


def _finding(snapshot: Snapshot, sysctls: Sysctls, family: str, rise: int | None) -> Finding:
    table, limit = (snapshot.neighbours or {})[family], _limit(sysctls, family)
    facts = [] if not rise else [f"was full {rise:,} times in {snapshot.seconds or 0:.0f} s"]
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
        severity=Severity.HIGH if rise else Severity.MEDIUM,
        message=f"The {_NAMES[family]} table {' and '.join(facts)}",
        evidence={
            "family": family,
            "entries": table.get("entries"),
            "permanent": table.get("permanent"),
            "gc_thresh3": limit,
            "table_fulls_rise": rise,
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
