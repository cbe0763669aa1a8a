"""Compute the percentage of CPU time in each state between two samples. Pure.

The states are those of vmstat(8). `user` includes nice, and `system` includes hard and soft
interrupts, which are also listed separately if the kernel accounts for them. `user`, `system`,
`idle`, `iowait` and `steal` sum to 100.

`unaccounted` is the time that passed by the clock but is in no column of /proc/stat. A kernel
without interrupt time accounting stops the idle clock when an interrupt wakes an idle CPU, and
adds the time of the interrupt to no column (kernel/time/tick-sched.c, `tick_nohz_irq_enter()`). On
a director, this time is a large part of the work. vmstat does not show it; dirtune adds it to
`system`.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from dirtune.analyse.run import CpuShare, NodeCpu, Role
from dirtune.collect.softnet import SoftnetRow
from dirtune.collect.stat import CpuTimes, Stat

# The kernel reports times to user space in hundredths of a second, whatever its own tick is.
USER_HZ = 100
WHOLE = ("user", "system", "idle", "iowait", "steal")
_TOLERANCE = 0.5


@dataclass(frozen=True, slots=True)
class GroupTimes:
    """CPU time of a control group since its creation, in seconds, and the number of its CPUs."""

    user_s: float
    system_s: float
    cpus: int


@dataclass(frozen=True, slots=True)
class Sample:
    """The counters of one node at one moment, by the node's own clock."""

    at_s: float
    stat: Stat | None = None
    group: GroupTimes | None = None
    """The CPU times of the node if it is a container; None otherwise. For a container, `stat`
    describes the entire machine."""
    lines: dict[str, int] = field(default_factory=dict)
    """Interrupts of each numbered line since boot."""
    ip_vs: dict[str, int] = field(default_factory=dict)
    """Counters of /proc/net/ip_vs_stats; empty if the node has none."""
    inactive: int | None = None
    """Connections in the IPVS table that are not established (`InActConn`)."""
    softnet: tuple[SoftnetRow, ...] = ()
    devices: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Counters of /proc/net/dev by interface."""
    active: int | None = None
    """Established connections in the IPVS table (`ActiveConn`)."""
    net: dict[str, int] = field(default_factory=dict)
    """Counters of the network stack by the kernel's names, such as `TcpExt.ListenDrops`; packets
    dropped by interfaces (`rx_dropped`, `tx_dropped`) and backlogs (`softnet_dropped`); and, as
    the only value that is not a counter, the current number of sockets in TIME_WAIT
    (`time_wait`)."""


def shares(earlier: Sample, later: Sample) -> dict[str, float] | None:
    """Return the percentage of a node's CPU time in each state between two samples.

    The result is None if the samples hold no CPU times, or if no time passed between them.
    """
    if earlier.group is not None and later.group is not None:
        return _group_shares(earlier, later, earlier.group, later.group)
    if earlier.stat is None or later.stat is None:
        return None
    return _stat_shares(
        earlier.stat.total, later.stat.total, _elapsed(earlier.at_s, later.at_s, later.stat)
    )


def busy_s(earlier: Sample, later: Sample) -> float | None:
    """Return the seconds of CPU time that a node used between two samples; None if unknown.

    Idle time, I/O wait and steal do not count.
    """
    if earlier.group is not None and later.group is not None:
        before, after = earlier.group, later.group
        return after.user_s + after.system_s - before.user_s - before.system_s
    if earlier.stat is None or later.stat is None:
        return None
    waited = _waited(later.stat.total) - _waited(earlier.stat.total)
    elapsed = _elapsed(earlier.at_s, later.at_s, later.stat)
    return max(0.0, (elapsed - waited) / USER_HZ)


def idle_percent(earlier: Sample, later: Sample) -> float | None:
    """Return the percentage of CPU time that was idle between two samples; None if unknown."""
    found = shares(earlier, later)
    return None if found is None else found["idle"] + found.get("iowait", 0.0)


def busiest_percent(earlier: Sample, later: Sample) -> float | None:
    """Return the percentage of time that the busiest CPU was not idle; None if unknown.

    For a container, the result is the mean over the CPUs that it may use, because its time on each
    CPU is unknown.
    """
    if earlier.group is not None or later.group is not None:
        idle = idle_percent(earlier, later)
        return None if idle is None else 100 - idle
    waited = (
        states["idle"].mean + (states["iowait"].mean if "iowait" in states else 0.0)
        for states in _per_cpu((earlier, later)).values()
    )
    least = min(waited, default=None)
    return None if least is None else 100 - least


def node_cpu(node: str, role: Role, samples: Sequence[Sample]) -> NodeCpu | None:
    """Return the mean and standard deviation of each CPU state over consecutive *samples*.

    Values are in per cent. The result is None if no two consecutive samples hold CPU times.
    """
    series = [s for a, b in pairwise(samples) if (s := shares(a, b)) is not None]
    if not series:
        return None
    grouped = any(sample.group is not None for sample in samples)
    return NodeCpu(
        node=node,
        role=role,
        states=_spread(series),
        per_cpu={} if grouped else _per_cpu(samples),
        source="cgroup" if grouped else "/proc/stat",
        samples=len(series),
        cpus=_cpus(samples[-1]),
    )


def whole(states: dict[str, CpuShare]) -> bool:
    """Return whether the means of user, system, idle, iowait and steal time sum to 100 %."""
    return abs(sum(states[name].mean for name in WHOLE if name in states) - 100) <= _TOLERANCE


def _cpus(sample: Sample) -> int | None:
    if sample.group is not None:
        return sample.group.cpus
    return None if sample.stat is None else max(1, len(sample.stat.cpus))


def _waited(times: CpuTimes) -> int:
    return times.idle + (times.iowait or 0) + (times.steal or 0)


def _elapsed(start_s: float, end_s: float, stat: Stat) -> float:
    """Return the time between two samples, summed over the CPUs of *stat*, in ticks of USER_HZ."""
    return (end_s - start_s) * USER_HZ * max(1, len(stat.cpus))


def _group_shares(
    earlier: Sample, later: Sample, before: GroupTimes, after: GroupTimes
) -> dict[str, float] | None:
    capacity = (later.at_s - earlier.at_s) * after.cpus
    if capacity <= 0:
        return None
    user = 100 * (after.user_s - before.user_s) / capacity
    system = 100 * (after.system_s - before.system_s) / capacity
    return {"user": user, "system": system, "idle": max(0.0, 100 - user - system)}


def _stat_shares(before: CpuTimes, after: CpuTimes, elapsed: float) -> dict[str, float] | None:
    counted = after.total - before.total
    if counted <= 0:
        return None
    # The kernel counts idle time in whole ticks, and the clock was read just before the idle time,
    # so the idle time may exceed the clock time a little.
    total = max(elapsed, counted)

    def share(value: Callable[[CpuTimes], int | None]) -> float | None:
        now, then = value(after), value(before)
        return None if now is None or then is None else 100 * (now - then) / total

    states = {
        "user": share(lambda t: t.user + t.nice),
        "system": share(lambda t: t.system + (t.irq or 0) + (t.softirq or 0)),
        "unaccounted": 100 * (total - counted) / total,
        "idle": share(lambda t: t.idle),
        "iowait": share(lambda t: t.iowait),
        "irq": share(lambda t: t.irq),
        "softirq": share(lambda t: t.softirq),
        "steal": share(lambda t: t.steal),
    }
    states["system"] = (states["system"] or 0.0) + (states["unaccounted"] or 0.0)
    return {name: value for name, value in states.items() if value is not None}


def shares_by_cpu(earlier: Sample, later: Sample) -> dict[str, dict[str, float]]:
    """Return the percentage of each CPU's time in each state, by CPU name (`cpu0`).

    The result is empty if the samples hold no CPU times.
    """
    if earlier.stat is None or later.stat is None:
        return {}
    elapsed = (later.at_s - earlier.at_s) * USER_HZ
    before = {times.cpu: times for times in earlier.stat.cpus}
    pairs = ((before[now.cpu], now) for now in later.stat.cpus if now.cpu in before)
    by_cpu = {f"cpu{now.cpu}": _stat_shares(then, now, elapsed) for then, now in pairs}
    return {name: states for name, states in by_cpu.items() if states is not None}


def _per_cpu(samples: Sequence[Sample]) -> dict[str, dict[str, CpuShare]]:
    series: dict[str, list[dict[str, float]]] = {}
    for earlier, later in pairwise(sample for sample in samples if sample.stat is not None):
        for name, states in shares_by_cpu(earlier, later).items():
            series.setdefault(name, []).append(states)
    return {cpu: _spread(rows) for cpu, rows in series.items()}


def _spread(series: Sequence[dict[str, float]]) -> dict[str, CpuShare]:
    names = [name for name in series[0] if all(name in row for row in series)]
    columns = {name: [row[name] for row in series] for name in names}
    return {name: CpuShare(statistics.fmean(c), _sd(c)) for name, c in columns.items()}


def _sd(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0
