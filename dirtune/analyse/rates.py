"""Rates between two samples of counters. Interrupt counters are 32 bits wide and wrap."""

from collections.abc import Mapping

from dirtune.collect.interrupts import Interrupts, Line
from dirtune.collect.net import Interface
from dirtune.collect.stat import CpuTimes, Stat

_WRAP = 1 << 32


def line_delta(earlier: Interrupts | None, line: Line, cpus: tuple[int, ...]) -> int | None:
    """Return how many interrupts *line* took since *earlier*.

    None where there is no earlier sample, or CPUs or handlers changed in between.
    """
    before = _before(earlier, line, cpus)
    if before is None:
        return None
    return sum(wrapped(then, now) for then, now in zip(before.counts, line.counts, strict=True))


def line_deltas(
    earlier: Interrupts | None, line: Line, cpus: tuple[int, ...]
) -> Mapping[int, int] | None:
    """Return how many interrupts *line* took on each CPU since *earlier*.

    None as above, and for a row of text (ERR) that has no count for each CPU.
    """
    before = _before(earlier, line, cpus)
    if before is None or len(line.counts) != len(cpus):
        return None
    pairs = zip(cpus, before.counts, line.counts, strict=True)
    return {cpu: wrapped(then, now) for cpu, then, now in pairs}


def line_counts(earlier: Interrupts, later: Interrupts) -> dict[str, int]:
    """Return how many interrupts each numbered line took between two readings, by its label.

    Where a line or a CPU came or went in between, what the sums over all CPUs tell.
    """
    then = {line.irq: line.counts for line in earlier.numbered}
    return {line.irq: _counted(then.get(line.irq, ()), line.counts) for line in later.numbered}


def _counted(then: tuple[int, ...], now: tuple[int, ...]) -> int:
    if len(then) != len(now):
        return max(0, sum(now) - sum(then))
    return sum(map(wrapped, then, now))


def _before(earlier: Interrupts | None, line: Line, cpus: tuple[int, ...]) -> Line | None:
    """Return the same line in *earlier*, None if it cannot be compared."""
    before = earlier.line(line.irq) if earlier else None
    if earlier is None or before is None:
        return None
    return before if earlier.cpus == cpus and before.actions == line.actions else None


def wrapped(then: int, now: int) -> int:
    """Return the increase of a counter of 32 bits, which may have wrapped once."""
    return (now - then) % _WRAP


def increase(then: int | None, now: int | None) -> int | None:
    """Return the increase of a counter of 64 bits; None if unknown or it was set back."""
    if then is None or now is None or now < then:
        return None
    return now - then


def cpu_percent(
    earlier: Stat | None, later: Stat | None
) -> Mapping[int, Mapping[str, float]] | None:
    """Return each CPU's per cent of time by column of /proc/stat between two samples.

    `busy` is what is neither idle, iowait nor steal. Without interrupt time accounting `irq` and
    `softirq` are sampled at the tick and tell less than there was. None without two samples, or
    where a CPU came or went between them.
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
