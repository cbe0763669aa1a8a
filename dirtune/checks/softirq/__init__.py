"""Checks of softirqs, and the helper functions that they share."""

from collections.abc import Mapping

from dirtune.analyse import rates
from dirtune.checks.counters import loss
from dirtune.collect.softnet import SoftnetRow
from dirtune.snapshot import Snapshot


def by_cpu(snapshot: Snapshot) -> Mapping[int, SoftnetRow] | None:
    """Return each CPU's row of softnet_stat; None if the rows cannot be assigned to CPUs.

    If the rows have no CPU number, they belong to the online CPUs in ascending order. Before Linux
    5.10, /proc/net/softnet_stat has no such number.
    """
    rows = snapshot.softnet or ()
    named = {row.cpu: row for row in rows if row.cpu is not None}
    if rows and len(named) == len(rows):
        return named
    online = _online(snapshot)
    return dict(zip(online, rows, strict=True)) if rows and len(online) == len(rows) else None


def _online(snapshot: Snapshot) -> tuple[int, ...]:
    """Return the online CPUs of one sample, from sysfs or else from a file that counts by CPU."""
    if snapshot.cpus:
        return snapshot.cpus.online
    if snapshot.stat:
        return tuple(times.cpu for times in snapshot.stat.cpus if times.cpu is not None)
    return snapshot.interrupts.cpus if snapshot.interrupts else ()


def window(snapshot: Snapshot) -> Mapping[int, SoftnetRow] | None:
    """Return how much each counter of softnet_stat rose between the samples, by CPU.

    Return None with only one sample, or if a CPU came online or went offline between them.
    """
    if snapshot.earlier is None or not snapshot.seconds:
        return None
    before, now = by_cpu(snapshot.earlier), by_cpu(snapshot)
    if before is None or now is None or before.keys() != now.keys():
        return None
    return {cpu: _risen(before[cpu], row) for cpu, row in now.items()}


def net_rx(snapshot: Snapshot) -> Mapping[int, int] | None:
    """Return how often each CPU ran NET_RX between the samples; None if unknown."""
    before = snapshot.earlier.softirqs if snapshot.earlier else None
    now = snapshot.softirqs
    if before is None or now is None or before.cpus != now.cpus:
        return None
    then, later = before.counts.get("NET_RX"), now.counts.get("NET_RX")
    if then is None or later is None:
        return None
    pairs = zip(now.cpus, then, later, strict=True)
    return {cpu: rates.wrapped(a, b) for cpu, a, b in pairs}


def rps_cpus(snapshot: Snapshot) -> Mapping[str, tuple[int, ...]] | None:
    """Return the CPUs to which RPS steers packets, by interface; None if unknown."""
    queues = [(i.name, q) for i in snapshot.interfaces or () for q in i.rx_queues]
    if not any(q.cpus is not None for _, q in queues):
        return None
    masks: dict[str, set[int]] = {}
    for name, queue in queues:
        masks.setdefault(name, set()).update(queue.cpus or ())
    return {name: tuple(sorted(cpus)) for name, cpus in masks.items() if cpus}


def rps_on(snapshot: Snapshot) -> bool | None:
    """Whether RPS is on for any interface; None if unknown."""
    masks = rps_cpus(snapshot)
    return None if masks is None else bool(masks)


def overflowed(snapshot: Snapshot) -> Mapping[str, int]:
    """Return the packets that NICs lost because a ring was full, by interface."""
    losses = {i.name: loss(snapshot, i) for i in snapshot.interfaces or () if i.physical}
    return {name: lost.packets for name, lost in losses.items() if lost and lost.packets}


def _risen(then: SoftnetRow, now: SoftnetRow) -> SoftnetRow:
    return SoftnetRow(
        now.cpu,
        rates.wrapped(then.processed, now.processed),
        rates.wrapped(then.dropped, now.dropped),
        rates.wrapped(then.time_squeeze, now.time_squeeze),
        _rise(then.received_rps, now.received_rps),
        _rise(then.flow_limit, now.flow_limit),
    )


def _rise(then: int | None, now: int | None) -> int | None:
    return None if then is None or now is None else rates.wrapped(then, now)
