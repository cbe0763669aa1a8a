from collections.abc import Mapping

from dirtune.analyse import rates
from dirtune.checks import Finding, Severity, Verdicts, check, inconclusive
from dirtune.checks.remedies import sysctl
from dirtune.snapshot import Snapshot

_FULL_PERCENT = 80
_FIRST_STEP = 4096  # entries, gc_thresh1; twice and four times that are gc_thresh2 and 3
_NAMES = {"ipv4": "ARP", "ipv6": "IPv6 neighbour"}


@check(
    "net/neigh-overflow",
    severity=Severity.HIGH,
    trust="A",
    needs=("neighbours", "sysctls"),
    mends=True,
)
def neigh_overflow(snapshot: Snapshot) -> Verdicts:
    """The neighbour table is at its limit.

    ## What it does
    Reports as `high` that `table_fulls` of /proc/net/stat/arp_cache or ndisc_cache rose between
    two samples, and as `medium` a table with 80 % or more of `gc_thresh3` entries. Permanent
    entries of IPv4 do not count.

    ## Why it matters
    At the limit the kernel can take no new neighbour: packets to a real server or a gateway that
    is not in the table yet are dropped. A director on a large flat network, or one of many
    containers, has more neighbours than the default of 1,024.

    ## Remediation
    Set `gc_thresh1`, `gc_thresh2` and `gc_thresh3` to 4,096, 8,192 and 16,384, or more where
    that is not twice what the table holds.

    ## Known problems
    Entries are those of all network namespaces, permanent ones only those of this one. Which
    entries of IPv6 are permanent is in no file: they all count. The limits belong to the first
    namespace, another shows none of them.

    ## References
    - Documentation/networking/ip-sysctl.rst, `neigh/default/gc_thresh3`
    - net/core/neighbour.c, `neigh_alloc()`
    """
    for family in snapshot.neighbours or {}:
        yield from _judged(snapshot, family)


def _judged(snapshot: Snapshot, family: str) -> Verdicts:
    table = (snapshot.neighbours or {})[family]
    entries, limit = _entries(table), _limit(snapshot, family)
    rise = _rise(snapshot, family)
    percent = 100 * table["entries"] / limit if limit and "entries" in table else None
    if rise:
        yield _finding(snapshot, family, rise)
    elif percent is None:
        yield inconclusive(f"{family}: gc_thresh3 or the entries are not known")
    elif percent >= _FULL_PERCENT and entries is None and family == "ipv4":
        yield inconclusive("ipv4: which entries are permanent is not known")
    elif _full(family, table, limit):
        yield _finding(snapshot, family, rise)
    elif rise is None and table.get("table_fulls") != 0:
        yield inconclusive(f"{family}: whether table_fulls rises is not known")


def _full(family: str, table: Mapping[str, int], limit: int | None) -> bool:
    entries = _entries(table) if family == "ipv4" else table.get("entries")
    return bool(limit) and entries is not None and 100 * entries >= _FULL_PERCENT * (limit or 0)


def _entries(table: Mapping[str, int]) -> int | None:
    """Return the entries that count against the limit, None if permanent ones are not known."""
    if "entries" not in table or "permanent" not in table:
        return None
    return max(0, table["entries"] - table["permanent"])


def _limit(snapshot: Snapshot, family: str) -> int | None:
    assert snapshot.sysctls is not None
    return snapshot.sysctls.number(f"net/{family}/neigh/default/gc_thresh3")


def _rise(snapshot: Snapshot, family: str) -> int | None:
    before = (snapshot.earlier.neighbours if snapshot.earlier else None) or {}
    then, now = before.get(family, {}), (snapshot.neighbours or {})[family]
    return rates.increase(then.get("table_fulls"), now.get("table_fulls"))


def _finding(snapshot: Snapshot, family: str, rise: int | None) -> Finding:
    table, limit = (snapshot.neighbours or {})[family], _limit(snapshot, family)
    said = [] if not rise else [f"was full {rise:,} times in {snapshot.seconds or 0:.0f} s"]
    if "entries" in table:
        said.append(f"holds {table['entries']:,} of gc_thresh3 = {limit or 'unknown'}")
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
        message=", ".join(said),
        evidence={
            "family": family,
            "entries": table.get("entries"),
            "permanent": table.get("permanent"),
            "gc_thresh3": limit,
            "table_fulls_rise": rise,
        },
        fixes=(sysctl(snapshot, "raise-gc-thresh", "Let it hold more neighbours", values),),
    )
