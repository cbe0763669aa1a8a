"""Compute how much counters rose between two samples.

Interrupt counters are 32 bits wide and wrap around. If a driver registers its handler again, the
kernel resets the counters of the interrupt line.
"""

from collections.abc import Mapping

from dirtune.collect.interrupts import Interrupts, Line
from dirtune.collect.net import Interface
from dirtune.collect.stat import CpuTimes, Stat

_WRAP = 1 << 32
_MOST_PER_SECOND = 10_000_000
"""The highest credible rate of an interrupt counter, in interrupts/s.

Entering and leaving a handler alone takes over 100 ns. A counter that was reset seems to have
risen faster: a change from 100 to 50 in 2 s would be a wrap at 2,147,483,623/s.
"""


def line_delta(
    earlier: Interrupts | None, line: Line, cpus: tuple[int, ...], seconds: float
) -> int | None:
    """Return the number of interrupts on *line* since the sample *earlier*, *seconds* ago.

    The result is None if there is no earlier sample, if the CPUs or the handlers of the line
    changed since then, or if a counter was reset.
    """
    before = _before(earlier, line, cpus)
    return None if before is None else _risen(before.counts, line.counts, seconds)


def line_deltas(
    earlier: Interrupts | None, line: Line, cpus: tuple[int, ...], seconds: float
) -> Mapping[int, int] | None:
    """Return the number of interrupts on *line* since the sample *earlier*, by CPU.

    The result is None if there is no earlier sample, if the CPUs or the handlers of the line
    changed since then, if a counter was reset, or if the row has no count for each CPU (ERR).
    """
    before = _before(earlier, line, cpus)
    if before is None or len(line.counts) != len(cpus):
        return None
    if _risen(before.counts, line.counts, seconds) is None:
        return None
    return dict(zip(cpus, map(wrapped, before.counts, line.counts), strict=True))


def line_counts(earlier: Interrupts, later: Interrupts, seconds: float) -> dict[str, int]:
    """Return the number of interrupts on each numbered line between two readings, by label.

    *seconds* is the time between the readings. A line whose counters were reset is left out. If a
    line or a CPU appeared or disappeared, the number is the difference of the sums over all CPUs.
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
    """Return how much an interrupt counter rose from *then* to *now*; None if it was reset.

    *seconds* is the time between the two readings.
    """
    risen = wrapped(then, now)
    return risen if risen <= _MOST_PER_SECOND * max(1.0, seconds) else None


def _before(earlier: Interrupts | None, line: Line, cpus: tuple[int, ...]) -> Line | None:
    """Return *line* as it was in the sample *earlier*; None if that cannot be compared."""
    before = earlier.line(line.irq) if earlier else None
    if earlier is None or before is None:
        return None
    same = earlier.cpus == cpus and before.actions == line.actions
    return before if same and len(before.counts) == len(line.counts) else None


def wrapped(then: int, now: int) -> int:
    """Return how much a 32-bit counter rose from *then* to *now*, with one wrap at most."""
    return (now - then) % _WRAP


def increase(then: int | None, now: int | None) -> int | None:
    """Return how much a 64-bit counter rose from *then* to *now*.

    The result is None if a reading is missing, or if the counter was reset.
    """
    if then is None or now is None or now < then:
        return None
    return now - then


def cpu_percent(
    earlier: Stat | None, later: Stat | None
) -> Mapping[int, Mapping[str, float]] | None:
    """Return the percentage of each CPU's time in each column of /proc/stat.

    The result is by CPU number, then by column; `busy` is the time that was neither idle, iowait
    nor steal. If the kernel lacks interrupt time accounting, `irq` and `softirq` are too small,
    because the kernel samples them only at the tick. The result is None if a sample is missing, or
    if a CPU appeared or disappeared between the samples.
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
    """Return the packets that each physical NIC received and sent between two samples."""
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
    """Return the packets that *interface* has received and sent so far; None if unknown."""
    if interface.rx_packets is None or interface.tx_packets is None:
        return None
    return interface.rx_packets + interface.tx_packets


def nic_pps(
    earlier: tuple[Interface, ...] | None, later: tuple[Interface, ...] | None
) -> int | None:
    """Return the packets that all physical NICs together received and sent between two samples.

    The result is None if no NIC has counters in both samples.
    """
    counted = nic_packets(earlier, later)
    return sum(counted.values()) if counted else None
