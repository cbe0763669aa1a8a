from dataclasses import dataclass

from dirtune.checks import Finding, Fix, Severity, Verdicts, check, inconclusive, uncounted
from dirtune.checks.remedies import sysctl
from dirtune.checks.softirq import rps_cpus, window
from dirtune.checks.softirq.backlog_drops import BACKLOG, longer
from dirtune.checks.together import subjects
from dirtune.snapshot import Snapshot

_BITMAP, _PREQUEUE = "net/core/flow_limit_cpu_bitmap", "net/core/netdev_tstamp_prequeue"
_SHORT = 1000  # packets, the kernel's default
_BUSY_PPS = 100_000  # on one target CPU; an estimate, not calibrated


@dataclass(frozen=True, slots=True)
class _Steered:
    """The packets that RPS steered between the samples."""

    busiest: int
    """The CPU that processes the most packets, among the target CPUs of RPS."""
    pps: float
    dropped: int
    limited: int | None
    """Packets that the flow limit dropped; None if this kernel does not count them."""


@check("softirq/rps-backlog", severity=Severity.LOW, trust="A", needs=("interfaces", "softnet"))
def rps_backlog(snapshot: Snapshot) -> Verdicts:
    """RPS fills a backlog that has the default limit, or the flow limit of RPS drops packets.

    ## What it does
    If RPS is on, the check reports drops by the flow limit (column 11 of /proc/net/softnet_stat).
    It also reports a `net.core.netdev_max_backlog` of 1,000 packets or fewer, if RPS steers to a
    CPU that processes 100,000 packets/s or more. The finding is `medium` if the backlog dropped
    packets between the samples, else `low`.

    ## Why it matters
    When the backlog is half full, the flow limit may drop packets of the biggest flow. On a
    director the biggest flow is often a tunnel, or a proxy with many users.

    ## Remediation
    Raise `net.core.netdev_max_backlog`. On a director with tunnels, set
    `net.core.flow_limit_cpu_bitmap` to 0. Set `net.core.netdev_tstamp_prequeue` to 0, so that the
    target CPUs of RPS take the time stamps.

    ## Known problems
    softnet_stat counts all packets of a CPU: those that RPS steers to the CPU, and those of NIC
    queues that the CPU serves.

    ## References
    - Documentation/networking/scaling.rst, "RPS Flow Limit"
    """
    masks = rps_cpus(snapshot)
    if masks is None:
        yield inconclusive("the RPS masks are unknown, so RPS may be on")
        return
    if not masks:
        return
    steered = _steered(snapshot, {cpu for cpus in masks.values() for cpu in cpus})
    if steered is None:
        yield uncounted(snapshot, "this check needs two samples with the same CPUs online")
        return
    backlog = snapshot.sysctl(BACKLOG)
    if steered.pps >= _BUSY_PPS and backlog is None and not steered.limited:
        yield inconclusive("net.core.netdev_max_backlog is unknown")
    elif steered.limited or (steered.pps >= _BUSY_PPS and (backlog or 0) <= _SHORT):
        yield _finding(snapshot, steered, backlog, sorted(masks))


def _steered(snapshot: Snapshot, targets: set[int]) -> _Steered | None:
    rows = window(snapshot)
    on_target = {cpu: row for cpu, row in (rows or {}).items() if cpu in targets}
    if not rows or not on_target or not snapshot.seconds:
        return None
    busiest = max(on_target, key=lambda cpu: on_target[cpu].processed)
    limits = [row.flow_limit for row in rows.values() if row.flow_limit is not None]
    return _Steered(
        busiest,
        on_target[busiest].processed / snapshot.seconds,
        sum(row.dropped for row in rows.values()),
        sum(limits) if limits else None,
    )


def _finding(
    snapshot: Snapshot, steered: _Steered, backlog: int | None, names: list[str]
) -> Finding:
    if steered.limited:
        message = f"The flow limit of RPS dropped {steered.limited:,} packets of big flows"
    else:
        message = (
            f"RPS steers {steered.pps:,.0f} packets/s to CPU {steered.busiest}, "
            f"whose backlog holds only {backlog} packets"
        )
    return Finding(
        subject=subjects(names),
        severity=Severity.MEDIUM if steered.dropped else Severity.LOW,
        message=message,
        evidence={
            "interfaces": names,
            "cpu": steered.busiest,
            "packets_per_second": round(steered.pps),
            "netdev_max_backlog": backlog,
            "dropped": steered.dropped,
            "flow_limit": steered.limited,
        },
        fixes=(*longer(snapshot), *_no_limit(snapshot, steered), *_stamp_later(snapshot)),
    )


def _no_limit(snapshot: Snapshot, steered: _Steered) -> tuple[Fix, ...]:
    if not steered.limited:
        return ()
    title = "Turn the flow limit off, so that it no longer drops packets of a tunnel or proxy"
    return (sysctl(snapshot, "clear-flow-limit", title, {_BITMAP: 0}),)


def _stamp_later(snapshot: Snapshot) -> tuple[Fix, ...]:
    if snapshot.sysctl(_PREQUEUE) != 1:
        return ()
    title = "Take time stamps on the CPUs that RPS steers to"
    return (sysctl(snapshot, "stamp-after-rps", title, {_PREQUEUE: 0}),)
