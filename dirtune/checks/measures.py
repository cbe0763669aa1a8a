"""The numbers of a host that are worth a graph: losses, table use, interrupts, wasted time. Pure.

A number that the host does not report is None, and a mapping lacks it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dirtune.analyse import rates
from dirtune.checks import conntrack, counters, ipvs
from dirtune.checks.irq.legacy_lines import wastes_by_irq
from dirtune.collect.interrupts import Line
from dirtune.snapshot import Snapshot

_MOST_LINES = 256
"""The busiest lines that are kept; a NIC may have hundreds of vectors."""


@dataclass(frozen=True, slots=True)
class InterruptRate:
    """The interrupts/s on one line between the two samples."""

    irq: str
    actions: tuple[str, ...]
    per_second: float


@dataclass(frozen=True, slots=True)
class Measures:
    """Numbers of one host. Totals count since boot; rates are those between the two samples."""

    backlog_drops: int | None = None
    """Packets that CPUs dropped because their backlog was full, since boot."""
    time_squeezes: int | None = None
    """Runs of NET_RX that ended with packets left, since boot."""
    nic_losses: Mapping[str, float] = field(default_factory=dict)
    """Packets/s that a NIC lost because its ring was full, by interface."""
    conntrack_entries: int | None = None
    conntrack_limit: int | None = None
    ipvs_connections: int | None = None
    """New connections of IPVS since its counters were reset."""
    ipvs_entries: int | None = None
    """Entries of the IPVS connection table, without persistence templates."""
    ipvs_buckets: int | None = None
    interrupts: tuple[InterruptRate, ...] = ()
    """The busiest numbered lines, the busiest first."""
    wasted: Mapping[str, float] = field(default_factory=dict)
    """The share of one CPU, 0 to 1, in handler calls that found nothing to do, by interrupt."""


def of(snapshot: Snapshot) -> Measures:
    """Return the numbers of *snapshot*."""
    softnet, totals, status = snapshot.softnet, snapshot.ip_vs_stats, snapshot.ip_vs_status
    listed = ipvs.entries(snapshot) if snapshot.services is not None else None
    return Measures(
        backlog_drops=sum(row.dropped for row in softnet) if softnet else None,
        time_squeezes=sum(row.time_squeeze for row in softnet) if softnet else None,
        nic_losses=_nic_losses(snapshot),
        conntrack_entries=snapshot.sysctl(conntrack.COUNT),
        conntrack_limit=snapshot.sysctl(conntrack.MOST),
        ipvs_connections=totals.connections if totals else None,
        ipvs_entries=status.connections if status else listed,
        ipvs_buckets=status.buckets if status else snapshot.ip_vs_table_size,
        interrupts=_interrupts(snapshot),
        wasted={n: w.cpu_percent / 100 for n, w in wastes_by_irq(snapshot).items()},
    )


def _nic_losses(snapshot: Snapshot) -> dict[str, float]:
    seconds = snapshot.seconds
    if not seconds:
        return {}
    losses = (
        (i.name, counters.loss(snapshot, i)) for i in snapshot.interfaces or () if i.physical
    )
    return {name: loss.packets / seconds for name, loss in losses if loss is not None}


def _interrupts(snapshot: Snapshot) -> tuple[InterruptRate, ...]:
    table, earlier, seconds = snapshot.interrupts, snapshot.earlier, snapshot.seconds
    if table is None or earlier is None or not seconds:
        return ()

    def rate(line: Line) -> InterruptRate | None:
        delta = rates.line_delta(earlier.interrupts, line, table.cpus, seconds)
        return None if delta is None else InterruptRate(line.irq, line.actions, delta / seconds)

    known = (rate for rate in map(rate, table.numbered) if rate is not None)
    return tuple(sorted(known, key=lambda one: -one.per_second)[:_MOST_LINES])
