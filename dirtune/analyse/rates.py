"""Rates between two samples of counters. Interrupt counters are 32 bits wide and wrap."""

from dirtune.collect.interrupts import Interrupts, Line
from dirtune.collect.net import Interface

_WRAP = 1 << 32


def line_delta(earlier: Interrupts | None, line: Line, cpus: tuple[int, ...]) -> int | None:
    """Return how many interrupts *line* took since *earlier*.

    None where there is no earlier sample, or CPUs or handlers changed in between.
    """
    before = earlier.line(line.irq) if earlier else None
    if earlier is None or before is None:
        return None
    if earlier.cpus != cpus or before.actions != line.actions:
        return None
    return sum((now - then) % _WRAP for then, now in zip(before.counts, line.counts, strict=True))


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
