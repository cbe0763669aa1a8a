"""Rates between two samples of counters.

Interrupt counters are 32 bits wide and wrap. A driver that registers its handler again resets the
counters of the line.
"""

from collections.abc import Mapping

from dirtune.collect.interrupts import Interrupts, Line
from dirtune.collect.net import Interface
from dirtune.collect.stat import CpuTimes, Stat

_WRAP = 1 << 32
_MOST_PER_SECOND = 10_000_000
"""Limit of the interrupts on one counter: merely entering and leaving a handler takes over 100 ns.

A counter that was reset within a few minutes seems to have risen faster than this limit: a change
from 100 to 50 in 2 s would be a wrap at 2,147,483,623/s.
"""


def line_delta(
    earlier: Interrupts | None, line: Line, cpus: tuple[int, ...], seconds: float
) -> int | None:
    """Return the number of interrupts on *line* since *earlier*, which was *seconds* ago.

    The result is None without an earlier sample, if CPUs or handlers changed in between, or if a
    count was reset.
    """
    before = _before(earlier, line, cpus)
    return None if before is None else _risen(before.counts, line.counts, seconds)


def line_deltas(
    earlier: Interrupts | None, line: Line, cpus: tuple[int, ...], seconds: float
) -> Mapping[int, int] | None:
    """Return the number of interrupts on *line* since *earlier*, by CPU.

    The result is None in the same cases as for `line_delta`, and for a row such as ERR, which has
    no count for each CPU.
    """
    before = _before(earlier, line, cpus)
    if before is None or len(line.counts) != len(cpus):
        return None
    if _risen(before.counts, line.counts, seconds) is None:
        return None
    return dict(zip(cpus, map(wrapped, before.counts, line.counts), strict=True))


def line_counts(earlier: Interrupts, later: Interrupts, seconds: float) -> dict[str, int]:
    """Return the interrupts of each numbered line in *seconds* between two readings.

    The result is by label, without lines whose counts were reset. If a line or a CPU appeared or
    disappeared in between, the count is the difference of the sums over all CPUs.
    """
    then = {line.irq: line.counts for line in earlier.numbered}
    found = {
        line.irq: _counted(then.get(line.irq, ()), line.counts, seconds) for line in later.numbered
    }
    return {irq: count for irq, count in found.items() if count is not None}


def _counted(then: tuple[int, ...], now: tuple[int, ...], seconds: float) -> int | None:
    if len(then) != len(now):
        return max(0, sum(now) - sum(then))
    return _risen(then, now, seconds)


def _risen(then: tuple[int, ...], now: tuple[int, ...], seconds: float) -> int | None:
    counts = [interrupts(*pair, seconds) for pair in zip(then, now, strict=True)]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def interrupts(then: int, now: int, seconds: float) -> int | None:
    """Return the increase of a count of interrupts in *seconds*; None if it was reset."""
    risen = wrapped(then, now)
    return risen if risen <= _MOST_PER_SECOND * max(1.0, seconds) else None


def _before(earlier: Interrupts | None, line: Line, cpus: tuple[int, ...]) -> Line | None:
    """Return the same line in *earlier*; None if the two lines cannot be compared."""
    before = earlier.line(line.irq) if earlier else None
    if earlier is None or before is None:
        return None
    same = earlier.cpus == cpus and before.actions == line.actions
    return before if same and len(before.counts) == len(line.counts) else None


def wrapped(then: int, now: int) -> int:
    """Return the increase of a counter of 32 bits, which may have wrapped once."""
    return (now - then) % _WRAP


def increase(then: int | None, now: int | None) -> int | None:
    """Return the increase of a counter of 64 bits; None if unknown or if it was reset."""
    if then is None or now is None or now < then:
        return None
    return now - then


def cpu_percent(
    earlier: Stat | None, later: Stat | None
) -> Mapping[int, Mapping[str, float]] | None:
    """Return each CPU's per cent of time by column of /proc/stat between two samples.

    `busy` is the time that was neither idle, iowait nor steal. Without interrupt time accounting
    `irq` and `softirq` are sampled at the tick and are too small. The result is None without two
    samples, or if a CPU appeared or disappeared between them.
    """
    if earlier is None or later is None:
        return None
    before = {times.cpu: times for times in earlier.cpus}
    after = {times.cpu: times for times in later.cpus}
    if before.keys() != after.keys():
        return None
    return {cpu: _percent(before[cpu], after[cpu]) for cpu in after if cpu is not None}


def _percent(then: CpuTimes, now: CpuTimes) -> Mapping[str, float]:
    columns = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
    spent = {c: max(0, (getattr(now, c) or 0) - (getattr(then, c) or 0)) for c in columns}
    total = sum(spent.values())
    if not total:
        return {}
    spent["busy"] = total - spent["idle"] - spent["iowait"] - spent["steal"]
    return {column: 100 * ticks / total for column, ticks in spent.items()}


def nic_packets(
    earlier: tuple[Interface, ...] | None, later: tuple[Interface, ...] | None
) -> dict[str, int] | None:
    """Return packets received and sent between two samples, by physical interface."""
    if earlier is None or later is None:
        return None
    before = {i.name: packets(i) for i in earlier if i.physical}
    found = {}
    for interface in later:
        now, then = packets(interface), before.get(interface.name)
        if now is not None and then is not None:
            found[interface.name] = max(0, now - then)
    return found


def packets(interface: Interface) -> int | None:
    """Return packets received and sent since the interface was made; None if not counted."""
    if interface.rx_packets is None or interface.tx_packets is None:
        return None
    return interface.rx_packets + interface.tx_packets


def nic_pps(
    earlier: tuple[Interface, ...] | None, later: tuple[Interface, ...] | None
) -> int | None:
    """Return packets over all physical interfaces between two samples; None if not counted."""
    counted = nic_packets(earlier, later)
    return sum(counted.values()) if counted else None
