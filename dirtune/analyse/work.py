"""Compute a director's packets, connections and interrupts in a window, and their cost. Pure.

The numbers of packets and connections come from the counters of IPVS. Percentages refer to one
CPU, unless stated otherwise.
"""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from dirtune.analyse import cpu
from dirtune.analyse.cpu import Sample
from dirtune.analyse.forecast import Waste, forecast, wasted
from dirtune.analyse.handlers import Seconds
from dirtune.analyse.phases import Phase, phases
from dirtune.analyse.probed import Probed
from dirtune.analyse.rates import interrupts, wrapped
from dirtune.analyse.run import Forecast, NodeCpu
from dirtune.collect.softnet import SoftnetRow


class Line(msgspec.Struct, frozen=True):
    """The number of interrupts on one interrupt line in the window."""

    irq: str
    actions: tuple[str, ...]
    interrupts: int
    nic: bool
    """Whether one of the line's handlers belongs to a NIC."""


class Work(msgspec.Struct, frozen=True):
    """The work of a director in one window; None means unknown, never zero."""

    seconds: Seconds
    cpus: int
    busy_percent: float | None
    """Busy time of all CPUs, without steal: 200 means two busy CPUs."""
    connections: int | None
    packets: int | None
    """Number of packets that IPVS handled: requests and, with NAT, replies."""
    lines: tuple[Line, ...]
    """Interrupt lines that had interrupts, the busiest first; a line whose counters were reset is
    left out."""
    softnet_dropped: int | None
    softnet_squeezed: int | None
    device_drops: dict[str, int]
    """Number of packets dropped because a NIC's receive ring was full, by interface; an interface
    without such drops is left out."""
    phases: tuple[Phase, ...]
    wasted: tuple[Waste, ...]
    """Time wasted on each shared line of a NIC, the most expensive first; empty if no time was
    wasted, or if it was not measured."""
    forecast: Forecast | None
    """The expected gain if NICs no longer share these lines."""

    @property
    def cpu_us_per_connection(self) -> float | None:
        """Microseconds of CPU time per connection; None if unknown."""
        return self._for_each(self.connections)

    @property
    def cpu_us_per_packet(self) -> float | None:
        """Microseconds of CPU time per packet that IPVS handled; None if unknown."""
        return self._for_each(self.packets)

    @property
    def interrupts_per_packet(self) -> float | None:
        """Interrupts on the lines of NICs per packet that IPVS handled; None if unknown."""
        if not self.packets:
            return None
        return sum(line.interrupts for line in self.lines if line.nic) / self.packets

    def _for_each(self, count: int | None) -> float | None:
        if self.busy_percent is None or not count:
            return None
        return self.busy_percent / 100 * self.seconds * 1e6 / count


def of_window(
    samples: Sequence[Sample],
    node: NodeCpu,
    probed: Probed,
    actions: Mapping[str, tuple[str, ...]],
    nic_actions: frozenset[str],
) -> Work:
    """Return the work of a director between the first and the last of *samples*.

    *actions* are the names of the interrupt handlers on each line, and *nic_actions* the names of
    the handlers that belong to a NIC.
    """
    first, last = samples[0], samples[-1]
    cpus = max(1, len(node.per_cpu))
    busy = cpu.busy_s(first, last)
    seconds = last.at_s - first.at_s
    busy_percent = None if busy is None else 100 * busy / seconds
    user = node.states["user"].mean * cpus if "user" in node.states else 0.0
    connections = _moved(first.ip_vs, last.ip_vs, "connections")
    waste = wasted(probed.handlers, nic_actions) if probed.handlers else ()
    work = Work(
        seconds=seconds,
        cpus=cpus,
        busy_percent=busy_percent,
        connections=connections,
        packets=packets(first, last),
        lines=_lines(first, last, actions, nic_actions),
        softnet_dropped=_softnet(first, last, lambda row: row.dropped),
        softnet_squeezed=_softnet(first, last, lambda row: row.time_squeeze),
        device_drops=_device_drops(first, last),
        phases=phases(probed, busy_percent or 0.0, user) if busy_percent is not None else (),
        wasted=waste,
        forecast=None,
    )
    if probed.handlers is None or not waste:
        return work
    # The probe's window is a little longer than the window of the samples.
    of_probe = connections and round(connections * probed.handlers.seconds / seconds)
    expected = forecast(
        probed.handlers,
        (w.irq for w in waste),
        nic_actions,
        of_probe,
        work.cpu_us_per_connection,
    )
    return msgspec.structs.replace(work, forecast=expected)


def packets(first: Sample, last: Sample) -> int | None:
    """Return the number of packets that IPVS handled between two samples; None without counters.

    Packets in both directions count, because with NAT replies pass the director as well and cost
    as much CPU time as requests.
    """
    ways = [_moved(first.ip_vs, last.ip_vs, name) for name in ("packets_in", "packets_out")]
    return None if None in ways else sum(way or 0 for way in ways)


def _moved(before: Mapping[str, int], after: Mapping[str, int], name: str) -> int | None:
    then, now = before.get(name), after.get(name)
    return None if then is None or now is None else now - then


def _lines(
    first: Sample,
    last: Sample,
    actions: Mapping[str, tuple[str, ...]],
    nic_actions: frozenset[str],
) -> tuple[Line, ...]:
    found = (
        Line(irq, on_line, moved, not nic_actions.isdisjoint(on_line))
        for irq, now in last.lines.items()
        if irq in first.lines
        and (moved := interrupts(first.lines[irq], now, last.at_s - first.at_s))
        for on_line in (actions.get(irq, ()),)
    )
    return tuple(sorted(found, key=lambda line: -line.interrupts))


def _softnet(first: Sample, last: Sample, column: Callable[[SoftnetRow], int]) -> int | None:
    if not first.softnet or len(first.softnet) != len(last.softnet):
        return None
    pairs = zip(first.softnet, last.softnet, strict=True)
    return sum(wrapped(column(then), column(now)) for then, now in pairs)


def _device_drops(first: Sample, last: Sample) -> dict[str, int]:
    found = {}
    for name, now in last.devices.items():
        then = first.devices.get(name)
        if then is None:
            continue
        # Packets dropped because the ring was full; `dropped` would count unwanted packets too.
        moved = now["rx_fifo_errors"] - then["rx_fifo_errors"]
        if moved > 0:
            found[name] = moved
    return found
