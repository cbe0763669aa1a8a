from dirtune.checks import Finding, Fix, Severity, Verdicts, check, inconclusive
from dirtune.checks.remedies import sysctl
from dirtune.checks.softirq import net_rx, overflowed, window
from dirtune.snapshot import Snapshot

_BUDGET, _BUDGET_US = "net/core/netdev_budget", "net/core/netdev_budget_usecs"
_SHARE = 0.01  # of the runs of NET_RX
_PER_SECOND = 10.0  # an estimate, not calibrated
_BUDGET_STEP = 600  # packets, twice the kernel's default
_US_STEPS = (8_000, 16_000)


@check(
    "softirq/time-squeeze",
    severity=Severity.MEDIUM,
    trust="A",
    needs=("softnet", "softirqs"),
    traffic=True,
)
def time_squeeze(snapshot: Snapshot) -> Verdicts:
    """NET_RX stops with packets left to poll.

    ## What it does
    Compares the third column of /proc/net/softnet_stat with the runs of NET_RX in /proc/softirqs
    between two samples. A CPU on which 1 % of the runs or more, and 10/s or more, ended with work
    left is reported: `high` where a card lost packets for want of room meanwhile, else `medium`.

    ## Why it matters
    One run may poll `netdev_budget` packets (300) and `netdev_budget_usecs` microseconds; what is
    left waits in the card's ring for the next run, and the ring may fill up.

    ## Remediation
    Raise `net.core.netdev_budget` to 600; then `net.core.netdev_budget_usecs` to 8,000 and up to
    16,000. User space on that CPU, keepalived among it, then waits longer.

    ## Known problems
    The counter also rises when the budget ended at the last packet: alone it is no loss. The
    kernel rounds the time up to a jiffy, whose length a snapshot does not tell.

    ## References
    - net/core/dev.c, `net_rx_action()`
    """
    rows, runs = window(snapshot), net_rx(snapshot)
    if rows is None or runs is None:
        yield inconclusive("CPUs came or went between the samples")
        return
    assert snapshot.seconds
    squeezed = {
        cpu: row.time_squeeze
        for cpu, row in rows.items()
        if row.time_squeeze >= _PER_SECOND * snapshot.seconds
        and row.time_squeeze >= _SHARE * runs.get(cpu, 0)
    }
    if squeezed:
        yield _finding(snapshot, squeezed, {cpu: runs.get(cpu, 0) for cpu in squeezed})


def _finding(snapshot: Snapshot, squeezed: dict[int, int], runs: dict[int, int]) -> Finding:
    assert snapshot.seconds
    lost = overflowed(snapshot)
    total, of = sum(squeezed.values()), sum(runs.values())
    share = f", {100 * total / of:.0f} % of the runs" if of else ""
    tell = f"; {', '.join(lost)} lost packets meanwhile" if lost else ""
    return Finding(
        subject=f"CPU {', '.join(map(str, squeezed))}",
        severity=Severity.HIGH if lost else Severity.MEDIUM,
        message=f"NET_RX ended with work left {total / snapshot.seconds:.0f} times/s{share}{tell}",
        evidence={
            "squeezed": {str(cpu): n for cpu, n in squeezed.items()},
            "net_rx": {str(cpu): n for cpu, n in runs.items()},
            "seconds": round(snapshot.seconds, 2),
            "netdev_budget": _number(snapshot, _BUDGET),
            "netdev_budget_usecs": _number(snapshot, _BUDGET_US),
            "ring_overflow_packets": dict(lost),
        },
        fixes=_fixes(snapshot),
    )


def _number(snapshot: Snapshot, name: str) -> int | None:
    return snapshot.sysctls.number(name) if snapshot.sysctls else None


def _fixes(snapshot: Snapshot) -> tuple[Fix, ...]:
    """Return what raises the budget of packets, else that of time; none where all is raised."""
    fixes = []
    budget, micros = _number(snapshot, _BUDGET), _number(snapshot, _BUDGET_US)
    if budget is not None and budget < _BUDGET_STEP:
        title = f"Let one run poll {_BUDGET_STEP} packets instead of {budget}"
        fixes.append(sysctl(snapshot, "raise-budget", title, {_BUDGET: _BUDGET_STEP}))
    wanted = next((us for us in _US_STEPS if micros is not None and micros < us), None)
    if wanted is not None:
        title = f"Let one run take {wanted:,} us instead of {micros:,}"
        fixes.append(sysctl(snapshot, "raise-budget-time", title, {_BUDGET_US: wanted}))
    return tuple(fixes)
