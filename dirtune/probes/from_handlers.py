"""Read how long after the call of an interrupt handler a softirq began or a packet arrived.

The probes irq, softirq and ipvs share two maps (`prebuilt.SHARED`): what each CPU does, and the
names of the interrupt handlers. The irq probe writes both. Without it, there are no such delays.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from dirtune.analyse.probed import HandlerDelay
from dirtune.probes.probe import Bpf, moved_slots

SIZES: Mapping[str, int] = {"IRQ_NAME_BYTES": 44, "IRQ_MAX_HANDLERS": 1024}
"""The limits of the handlers' names. mlx5_comp12@pci:0000:3b:00.0 has 29 characters."""

_TABLE_BITS = 8

Delays = Mapping[tuple[int, int], HandlerDelay]
"""The delays by the address of the `irqaction` and CPU."""


def names(bpf: Bpf) -> dict[int, tuple[int, str]]:
    """Return the line and the name of each interrupt handler by the address of its `irqaction`."""
    return {
        key.value: (row.irq, row.name.decode(errors="replace"))
        for key, row in bpf["irq_names"].items()
    }


def entry_of(address: int) -> int:
    """Return the entry of a per-CPU table for an address, as `entry_of()` in common.bpf.h does."""
    return (address * 0x9E3779B97F4A7C15 & (1 << 64) - 1) >> 64 - _TABLE_BITS


def read(bpf: Bpf, table: str) -> Delays:
    """Return a copy of the delays in the map *table*, an array of `struct handler_delay`."""
    copies = [
        (copy.handler, cpu, copy)
        for _, row in bpf[table].items()
        for cpu, copy in enumerate(row)
        if copy.handler
    ]
    known = names(bpf) if copies else {}
    return {
        (handler, cpu): _delay(copy, known[handler])
        for handler, cpu, copy in copies
        if handler in known
    }


def decode(before: Delays, after: Delays) -> tuple[HandlerDelay, ...]:
    """Return the delays between two readings by line and handler, the most frequent first."""
    sums: dict[tuple[int, str], HandlerDelay] = {}
    for key, now in after.items():
        moved = _minus(now, before.get(key))
        place = (moved.irq, moved.handler)
        sums[place] = _plus(sums[place], moved) if place in sums else moved
    rows: Iterable[HandlerDelay] = (one for one in sums.values() if one.events)
    return tuple(sorted(rows, key=lambda one: (-one.events, one.irq, one.handler)))


def _delay(copy: Any, name: tuple[int, str]) -> HandlerDelay:  # noqa: ANN401  (handler_delay)
    return HandlerDelay(*name, copy.events, copy.total_ns, copy.max_ns, tuple(copy.slots))


def _minus(now: HandlerDelay, then: HandlerDelay | None) -> HandlerDelay:
    if then is None:
        return now
    return msgspec.structs.replace(
        now,
        events=now.events - then.events,
        total_ns=now.total_ns - then.total_ns,
        histogram=moved_slots(now.histogram, then.histogram),
    )


def _plus(a: HandlerDelay, b: HandlerDelay) -> HandlerDelay:
    return msgspec.structs.replace(
        a,
        events=a.events + b.events,
        total_ns=a.total_ns + b.total_ns,
        max_ns=max(a.max_ns, b.max_ns),
        histogram=tuple(x + y for x, y in zip(a.histogram, b.histogram, strict=True)),
    )
