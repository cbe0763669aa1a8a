import re
from collections.abc import Iterator

from dirtune.analyse import rates
from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, inconclusive
from dirtune.checks.remedies import sysctl
from dirtune.checks.together import listed
from dirtune.collect import log_messages
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Snapshot

_NAME = "vm/min_free_kbytes"
_LOW_KB = 64 * 1024  # on a fast link; an estimate, not calibrated
_FAST_MBPS = 10_000
_LEAST_KB, _MOST_KB = 131_072, 524_288
_PERCENT, _CAP_PERCENT = 3, 5  # of memory
_WEEK_S = 7 * 86_400
_LARGE_ORDER = (
    3  # for allocations of this order or more, drivers and the stack fall back to smaller ones
)
_PAGES = re.compile(r"page allocation failure[:.] *order: ?(?P<order>\d{1,9})")
# alloc_rx_buff_failed (e1000e), rx_alloc_fail (i40e), rx_buff_alloc_err (mlx5_core),
# [0]: rx_skb_alloc_discard (bnx2x); rx_no_memory (hv_netvsc), rx_total_oom_discards (bnxt_en),
# rx_drops_no_skbs and rx_post_fail (be2net), rx_noskb_drops (sfc); Queue[0] AllocFails (atlantic)
_COUNTER = re.compile(
    r"(?=.*rx)(?:(?=.*alloc)(?=.*(?:fail|err|discard))|.*(?:no_memory|oom_discard|no_?skb|post_fail))"
    r"|.*AllocFails$",
    re.IGNORECASE,
)


@check("memory/atomic-reserve", severity=Severity.MEDIUM, trust="B", mends=True)
def atomic_reserve(snapshot: Snapshot, sysctls: Sysctls) -> Verdicts:
    """The kernel keeps too little memory free for bursts of packets.

    ## What it does
    The finding is `high` if the kernel log reports failed allocations of up to four pages (`page
    allocation failure: order:` 0 to 2), or that IPVS had no memory for a connection. It is also
    `high` if a driver's counter of failed receive allocations rises between two samples. Otherwise
    the finding is `medium` if `vm.min_free_kbytes` is below 65,536 (64 MiB) on a host with a link
    of 10 Gbit/s or more, or below a twentieth of a smaller memory. A single message that is older
    than a week does not count, nor do failures of larger allocations, which have a fallback.

    ## Why it matters
    Softirqs cannot wait until the kernel frees memory. If no memory is free, the kernel drops the
    packet or cannot make the IPVS entry for its connection.

    ## Remediation
    Set `vm.min_free_kbytes` to 3 % of memory, but at least 128 MiB and at most 512 MiB, and never
    more than 5 % of memory. Programs cannot use this memory, so if the value is too large, the
    kernel kills programs for lack of memory.

    ## Known problems
    The kernel log is a ring buffer and may have lost messages. Allocations that fail without a
    message are visible only in the driver's counters, which not every driver has.

    ## References
    - Documentation/admin-guide/sysctl/vm.rst, `min_free_kbytes`
    - mm/page_alloc.c, `warn_alloc()`
    """
    reserve = sysctls.number(_NAME)
    messages, rises = _messages(snapshot), dict(_rises(snapshot))
    noun = "failure" if len(messages) == 1 else "failures"
    failures = [f"the kernel log reports {len(messages)} {noun}"] if messages else []
    failures += [f"{name} rose by {count:,}" for name, count in rises.items()]
    if failures:
        message = (
            f"The kernel failed to allocate memory for packets or connections: {listed(failures)}"
        )
        yield _finding(snapshot, sysctls, Severity.HIGH, message, messages, rises)
        return
    speed = max((i.speed_mbps or 0 for i in snapshot.interfaces or () if i.physical), default=0)
    low = _low_kb(snapshot)
    if reserve is not None and reserve < low and speed >= _FAST_MBPS:
        message = (
            f"vm.min_free_kbytes keeps only {reserve >> 10} MiB free, which is too little for a "
            f"link of {speed // 1000} Gbit/s"
        )
        yield _finding(snapshot, sysctls, Severity.MEDIUM, message, (), {})
        return
    if reserve is None or (reserve < low and not speed):
        yield inconclusive("vm.min_free_kbytes or the speed of the links is unknown")
    elif snapshot.kernel_log is None:
        yield inconclusive("the kernel log, which records failed allocations, could not be read")


def _low_kb(snapshot: Snapshot) -> int:
    """Return the reserve in kB below which it is too small, at most what a fix would set."""
    memory_kb = (snapshot.meminfo or {}).get("MemTotal", 0) // 1024
    return min(_LOW_KB, memory_kb * _CAP_PERCENT // 100) if memory_kb else _LOW_KB


def _messages(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the messages about failed allocations; none if the only one is over a week old."""
    failures = []
    for row in log_messages.ALLOCATION.lines(snapshot.kernel_log):
        pages = _PAGES.search(row.text)
        if pages is None or int(pages["order"]) < _LARGE_ORDER:
            failures.append(row)
    if len(failures) == 1 and failures[0].seconds is not None and snapshot.taken_s is not None:
        failures = [row for row in failures if snapshot.taken_s - (row.seconds or 0) <= _WEEK_S]
    return tuple(row.text for row in failures)


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
    sysctls: Sysctls,
    severity: Severity,
    message: str,
    messages: tuple[str, ...],
    rises: dict[str, int],
) -> Finding:
    return Finding(
        subject="vm.min_free_kbytes",
        severity=severity,
        message=message,
        evidence={
            "min_free_kb": sysctls.number(_NAME),
            "memory_bytes": (snapshot.meminfo or {}).get("MemTotal"),
            "log": list(messages[-3:]),
            "rises": rises,
        },
        fixes=_fixes(snapshot, sysctls.number(_NAME)),
    )


def _fixes(snapshot: Snapshot, reserve: int | None) -> tuple[Fix, ...]:
    memory_kb = (snapshot.meminfo or {}).get("MemTotal", 0) // 1024
    goal = min(max(memory_kb * _PERCENT // 100, _LEAST_KB), _MOST_KB)
    goal = min(goal, memory_kb * _CAP_PERCENT // 100)
    if not memory_kb or reserve is None or goal <= reserve:
        title = "Find out which program uses the memory" + (
            ", because vm.min_free_kbytes is already large enough" if memory_kb and reserve else ""
        )
        return (Fix("free-memory", title, Risk.SAFE),)
    title = f"Keep {goal >> 10} MiB free instead of {reserve >> 10} MiB"
    return (sysctl(snapshot, "raise-reserve", title, {_NAME: goal}),)
