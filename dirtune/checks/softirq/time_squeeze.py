from collections.abc import Iterator

from dirtune.checks import Finding, Fix, Severity, Verdicts, check, inconclusive
from dirtune.checks.irq import named_cpus
from dirtune.checks.remedies import sysctl
from dirtune.checks.softirq import by_cpu, net_rx, overflowed, window
from dirtune.checks.together import listed, subjects
from dirtune.snapshot import Snapshot

_BUDGET, _BUDGET_US = "net/core/netdev_budget", "net/core/netdev_budget_usecs"
_SHARE = 0.01  # of the runs of NET_RX
_PER_SECOND = 10.0  # an estimate, not calibrated
_BUDGET_STEP = 600  # packets, twice the kernel's default
_US_STEPS = (8_000, 16_000)
_MANY = 10_000  # since boot; an estimate, not calibrated


def _since_boot(snapshot: Snapshot) -> Iterator[Finding]:
    rows, softirqs = by_cpu(snapshot) or {}, snapshot.softirqs
    counts = softirqs.counts.get("NET_RX") if softirqs else None
    if softirqs is None or counts is None or len(counts) != len(softirqs.cpus):
        return
    runs = dict(zip(softirqs.cpus, counts, strict=True))
    squeezed = {
        cpu: row.time_squeeze
        for cpu, row in rows.items()
        if row.time_squeeze >= max(_MANY, _SHARE * runs.get(cpu, 0))
    }
    if squeezed:
        total, every = sum(squeezed.values()), sum(runs.get(cpu, 0) for cpu in squeezed)
        share = f", {100 * total / every:.0f} % of its runs" if every else ""
        yield Finding(
            subject=f"CPU {subjects(squeezed)}",
            severity=Severity.INFO,
            message=f"Since boot, NET_RX on {named_cpus(squeezed)} ended {total:,} times with "
            f"packets left in its queues{share}",
            evidence={"squeezed_since_boot": {str(cpu): n for cpu, n in squeezed.items()}},
        )


@check(
    "softirq/time-squeeze",
    severity=Severity.MEDIUM,
    trust="A",
    needs=("softnet", "softirqs"),
    traffic=True,
    since_boot=_since_boot,
)
def time_squeeze(snapshot: Snapshot, seconds: float) -> Verdicts:
    """NET_RX stops although packets are left in the rings.

    ## What it does
    The third column of /proc/net/softnet_stat counts runs of NET_RX that ended with packets left.
    The check compares how much this column and the runs of NET_RX in /proc/softirqs rose between
    two samples. It reports a CPU on which 1 % of the runs or more, and 10/s or more, ended that
    way. The finding is `high` if a NIC lost packets in the same time because its ring was full,
    else `medium`. With only one sample, 1 % of the runs since boot and 10,000 of them are `info`.

    ## Why it matters
    One run may poll `netdev_budget` packets (300) and take `netdev_budget_usecs` microseconds. The
    remaining packets wait in the NIC's ring for the next run, and the ring may fill up.

    ## Remediation
    Raise `net.core.netdev_budget` to 600. If that does not suffice, raise
    `net.core.netdev_budget_usecs` to 8,000, and later to 16,000. User programs on that CPU, such
    as keepalived, then wait longer.

    ## Known problems
    The counter also rises if the budget ended exactly with the last packet, so it alone does not
    prove a loss. The kernel rounds the time up to a jiffy, whose length is unknown to the check.

    ## References
    - net/core/dev.c, `net_rx_action()`
    """
    rows, runs = window(snapshot), net_rx(snapshot)
    if rows is None or runs is None:
        yield inconclusive("CPUs came online or went offline between the samples")
        return
    squeezed = {
        cpu: row.time_squeeze
        for cpu, row in rows.items()
        if row.time_squeeze >= _PER_SECOND * seconds
        and row.time_squeeze >= _SHARE * runs.get(cpu, 0)
    }
    if squeezed:
        yield _finding(snapshot, seconds, squeezed, {cpu: runs.get(cpu, 0) for cpu in squeezed})


def _finding(
    snapshot: Snapshot, seconds: float, squeezed: dict[int, int], runs: dict[int, int]
) -> Finding:
    lost = overflowed(snapshot)
    total, every = sum(squeezed.values()), sum(runs.values())
    share = f" ({100 * total / every:.0f} % of its runs)" if every else ""
    loss = f"; {listed(lost)} lost packets meanwhile" if lost else ""
    return Finding(
        subject=f"CPU {subjects(squeezed)}",
        severity=Severity.HIGH if lost else Severity.MEDIUM,
        message=f"NET_RX on {named_cpus(squeezed)} ended {total / seconds:.0f} times/s{share} "
        f"with packets left in its queues{loss}",
        evidence={
            "squeezed": {str(cpu): n for cpu, n in squeezed.items()},
            "net_rx": {str(cpu): n for cpu, n in runs.items()},
            "seconds": round(seconds, 2),
            "netdev_budget": snapshot.sysctl(_BUDGET),
            "netdev_budget_usecs": snapshot.sysctl(_BUDGET_US),
            "ring_overflow_packets": dict(lost),
        },
        fixes=_fixes(snapshot),
    )


def _fixes(snapshot: Snapshot) -> tuple[Fix, ...]:
    """Return the fixes that raise the packet budget and the time budget, if these are low."""
    fixes = []
    budget, micros = snapshot.sysctl(_BUDGET), snapshot.sysctl(_BUDGET_US)
    if budget is not None and budget < _BUDGET_STEP:
        title = f"Raise the packet budget of one run from {budget} to {_BUDGET_STEP} packets"
        fixes.append(sysctl(snapshot, "raise-budget", title, {_BUDGET: _BUDGET_STEP}))
    raised = next((us for us in _US_STEPS if micros is not None and micros < us), None)
    if raised is not None:
        title = f"Raise the time budget of one run from {micros:,} to {raised:,} us"
        fixes.append(sysctl(snapshot, "raise-budget-time", title, {_BUDGET_US: raised}))
    return tuple(fixes)
