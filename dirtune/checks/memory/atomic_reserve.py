import re
from collections.abc import Iterator

from dirtune.analyse import rates
from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, inconclusive
from dirtune.checks.remedies import sysctl
from dirtune.snapshot import Snapshot

_NAME = "vm/min_free_kbytes"
_LOW_KB = 64 * 1024  # on a fast link; an estimate, not calibrated
_FAST_MBPS = 10_000
_LEAST_KB, _MOST_KB = 131_072, 524_288
_PERCENT, _CAP_PERCENT = 3, 5  # of memory
_WEEK_S = 7 * 86_400
_LARGE_ORDER = 3  # from here drivers and the stack fall back to smaller pieces
_LOG = re.compile(r"page allocation failure[:.] *order: ?(?P<order>\d+)|ip_vs_conn_new.*no memory")
# alloc_rx_buff_failed, rx_alloc_failed, rx_page_alloc_fail, rx_buff_alloc_err
_COUNTER = re.compile(r"(?=.*rx)(?=.*alloc)(?=.*(?:fail|err))", re.IGNORECASE)


@check(
    "memory/atomic-reserve", severity=Severity.MEDIUM, trust="B", needs=("sysctls",), mends=True
)
def atomic_reserve(snapshot: Snapshot) -> Verdicts:
    """Too little memory is kept free for bursts of packets.

    ## What it does
    Reports as `high` that the kernel's log tells of failed allocations of up to four pages
    (`page allocation failure: order:` 0 to 2) or of IPVS without memory for a connection, or that
    a driver's counter of failed receive allocations rises between two samples. Else
    `vm.min_free_kbytes` below 65,536 (64 MiB) on a host with a link of 10 Gbit/s or more is
    `medium`. A single message that is older than a week is left alone, and so are larger
    allocations, which have something to fall back to.

    ## Why it matters
    Softirqs cannot wait for memory: without a reserve the packet, or IPVS's entry for its
    connection, is dropped.

    ## Remediation
    3 % of memory, at least 128 and at most 512 MiB, and never more than 5 % of memory: what is
    reserved is not there for programs, and too much of it makes the kernel kill them.

    ## Known problems
    The log is a ring and may have lost its beginning. Allocations that fail without a warning
    show in the drivers' counters only, and not every driver counts them.

    ## References
    - Documentation/admin-guide/sysctl/vm.rst, `min_free_kbytes`
    - mm/page_alloc.c, `warn_alloc()`
    """
    assert snapshot.sysctls is not None
    reserve = snapshot.sysctls.number(_NAME)
    messages, rises = _messages(snapshot), dict(_rises(snapshot))
    said = [f"{text} in the kernel's log" for text in _told(len(messages))]
    said += [f"{name} rose by {count:,}" for name, count in rises.items()]
    if said:
        yield _finding(snapshot, Severity.HIGH, ", ".join(said), messages, rises)
        return
    speed = max((i.speed_mbps or 0 for i in snapshot.interfaces or () if i.physical), default=0)
    if reserve is not None and reserve < _LOW_KB and speed >= _FAST_MBPS:
        said = [f"{reserve >> 10} MiB are kept free, with a link of {speed // 1000} Gbit/s"]
        yield _finding(snapshot, Severity.MEDIUM, said[0], (), {})
        return
    if reserve is None or (reserve < _LOW_KB and not speed):
        yield inconclusive("min_free_kbytes or the links' speed is not known")
    elif snapshot.kernel_log is None:
        yield inconclusive("the kernel's log, which tells of failures, is not known")


def _told(count: int) -> Iterator[str]:
    if count:
        yield f"{count} failed allocation{'s' * (count > 1)}"


def _messages(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the messages of failures; a single one that is older than a week is none."""
    found = []
    for row in snapshot.kernel_log or ():
        match = _LOG.search(row.text)
        if match and int(match["order"] or 0) < _LARGE_ORDER:
            found.append(row)
    if len(found) == 1 and found[0].seconds is not None and snapshot.taken_s is not None:
        found = [row for row in found if snapshot.taken_s - (row.seconds or 0) <= _WEEK_S]
    return tuple(row.text for row in found)


def _rises(snapshot: Snapshot) -> Iterator[tuple[str, int]]:
    before = (snapshot.earlier.ethtool if snapshot.earlier else None) or {}
    for interface, card in (snapshot.ethtool or {}).items():
        then = before.get(interface)
        for name, now in (card.statistics or {}).items():
            if then and _COUNTER.match(name):
                rise = rates.increase((then.statistics or {}).get(name), now)
                if rise:
                    yield f"{interface} {name}", rise


def _finding(
    snapshot: Snapshot,
    severity: Severity,
    said: str,
    messages: tuple[str, ...],
    rises: dict[str, int],
) -> Finding:
    assert snapshot.sysctls is not None
    return Finding(
        subject="vm.min_free_kbytes",
        severity=severity,
        message=said,
        evidence={
            "min_free_kb": snapshot.sysctls.number(_NAME),
            "memory_bytes": (snapshot.meminfo or {}).get("MemTotal"),
            "log": list(messages[-3:]),
            "rises": rises,
        },
        fixes=_fixes(snapshot, snapshot.sysctls.number(_NAME)),
    )


def _fixes(snapshot: Snapshot, reserve: int | None) -> tuple[Fix, ...]:
    memory_kb = (snapshot.meminfo or {}).get("MemTotal", 0) // 1024
    wanted = min(max(memory_kb * _PERCENT // 100, _LEAST_KB), _MOST_KB)
    wanted = min(wanted, memory_kb * _CAP_PERCENT // 100)
    if not memory_kb or reserve is None or wanted <= reserve:
        title = "Find out what uses the memory: the reserve is not to grow, or not known"
        return (Fix("free-memory", title, Risk.SAFE),)
    title = f"Keep {wanted >> 10} MiB free instead of {reserve >> 10}"
    return (sysctl(snapshot, "raise-reserve", title, {_NAME: wanted}),)
