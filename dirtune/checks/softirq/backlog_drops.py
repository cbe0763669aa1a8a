from collections.abc import Mapping

from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, inconclusive, one_sample
from dirtune.checks.irq import named_cpus
from dirtune.checks.remedies import sysctl
from dirtune.checks.softirq import rps_on, window
from dirtune.checks.together import subjects
from dirtune.collect.softnet import SoftnetRow
from dirtune.snapshot import Snapshot

BACKLOG = "net/core/netdev_max_backlog"
_CRITICAL_PER_SECOND = 10.0
_FIRST_STEP = 10_000  # packets
_LARGEST = 300_000  # packets; the largest known from a director in service


@check("softirq/backlog-drops", severity=Severity.CRITICAL, trust="A", mends=True)
def backlog_drops(snapshot: Snapshot, softnet: tuple[SoftnetRow, ...]) -> Verdicts:
    """The kernel drops packets because a CPU's backlog is full.

    ## What it does
    The check compares the second column of /proc/net/softnet_stat, which counts drops, between two
    samples. 10 drops/s or more are `critical`, and fewer are `high`. If there were drops since
    boot but none between the samples, the finding is `info`.

    ## Why it matters
    The packets are lost inside the kernel, and after a lost SYN a client waits one second. Only
    packets that RPS steers, and packets of devices without NAPI (veth, tunnels, loopback), go
    through the backlog. Packets that a NIC's own queue delivers do not.

    ## Remediation
    Raise `net.core.netdev_max_backlog` to 10,000, and higher if drops continue. Give RPS more
    CPUs, or use the NIC's own queues instead. A longer backlog costs memory, and increases latency
    under overload. Some of the drops may come from the flow limit (column 11), which drops packets
    of one big flow when the backlog is half full.

    ## Known problems
    The counters also include devices in other network namespaces.

    ## References
    - Documentation/networking/scaling.rst, "RPS Flow Limit"
    - net/core/dev.c, `enqueue_to_backlog()`
    """
    rows, seconds = window(snapshot), snapshot.seconds
    total = sum(row.dropped for row in softnet)
    if rows is None or not seconds:
        if total:
            yield _historic(total, "; whether they continue is unknown")
            cpus_changed = inconclusive("CPUs came online or went offline between the samples")
            yield cpus_changed if seconds else one_sample()
        return
    dropping = {cpu: row for cpu, row in rows.items() if row.dropped}
    if dropping:
        yield _finding(snapshot, seconds, dropping)
    elif total:
        yield _historic(total, ", but none between the samples")


def _historic(total: int, since: str) -> Finding:
    return Finding(
        subject="softnet",
        severity=Severity.INFO,
        message=f"The backlog dropped {total:,} packets since boot{since}",
        evidence={"dropped_since_boot": total},
    )


def _finding(snapshot: Snapshot, seconds: float, dropping: Mapping[int, SoftnetRow]) -> Finding:
    per_second = sum(row.dropped for row in dropping.values()) / seconds
    critical = per_second >= _CRITICAL_PER_SECOND
    backlog = snapshot.sysctl(BACKLOG)
    length = "" if backlog is None else f" of {backlog:,} packets"
    return Finding(
        subject=f"CPU {subjects(dropping)}",
        severity=Severity.CRITICAL if critical else Severity.HIGH,
        message=f"{named_cpus(dropping)} {'drops' if len(dropping) == 1 else 'drop'} "
        f"{per_second:.1f} packets/s because the backlog{length} is full",
        evidence={
            "dropped": {str(cpu): row.dropped for cpu, row in dropping.items()},
            "flow_limit": {str(cpu): row.flow_limit for cpu, row in dropping.items()},
            "seconds": round(seconds, 2),
            "netdev_max_backlog": backlog,
        },
        fixes=(*longer(snapshot), *_wider(snapshot)),
    )


def longer(snapshot: Snapshot) -> tuple[Fix, ...]:
    """Return the fix that raises the backlog's limit.

    The result is empty if the limit is unknown, or is already the highest that dirtune sets.
    """
    backlog = snapshot.sysctl(BACKLOG)
    if backlog is None or backlog >= _LARGEST:
        return ()
    packets = _FIRST_STEP if backlog < _FIRST_STEP else min(4 * backlog, _LARGEST)
    title = f"Raise the limit of the backlog from {backlog:,} to {packets:,} packets"
    return (sysctl(snapshot, "raise-backlog", title, {BACKLOG: packets}),)


def _wider(snapshot: Snapshot) -> tuple[Fix, ...]:
    if not rps_on(snapshot):
        return ()
    title = "Give RPS more CPUs, or use the NIC's own queues instead"
    return (Fix("widen-rps", title, Risk.SAFE),)
