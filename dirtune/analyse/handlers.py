"""Types for the calls and run times of interrupt handlers in one window. Pure data."""

from typing import Annotated

import msgspec

Seconds = Annotated[float, msgspec.Meta(gt=0)]
"""The length of a window. A document with a window of 0 s is refused: all figures per second
are divided by it."""


class HandlerCalls(msgspec.Struct, frozen=True):
    """Calls of one handler on one interrupt line."""

    irq: int
    """Linux interrupt number, as in /proc/interrupts."""
    handler: str
    """The name under which the handler was registered (`irqaction.name`)."""
    calls: int
    none: int
    """Calls that returned IRQ_NONE, because the device had not raised the interrupt."""
    wake_thread: int
    """Calls that returned IRQ_WAKE_THREAD."""
    total_ns: int
    none_ns: int
    """Nanoseconds in calls that returned IRQ_NONE."""
    max_ns: int
    cpu: int | None = None
    """The CPU that ran the calls; None for the sum over all CPUs."""
    histogram: tuple[int, ...] = ()
    """Number of calls by duration: slot k counts calls of 2^k to 2^(k+1) - 1 ns."""


class HandlerWindow(msgspec.Struct, frozen=True):
    """The measurements of the irq probe in one window."""

    seconds: Seconds
    handlers: tuple[HandlerCalls, ...]
    line_counts: dict[str, int]
    """Interrupts of each numbered line in the same window, from /proc/interrupts.

    A line whose counts were reset is left out.
    """
    load_seconds: float | None = None
    """Seconds that dirtune needed to load and attach the probe before the window."""
    probe_ns: int | None = None
    """Nanoseconds spent in the probe's own programs; None if not measured."""
    events: int | None = None
    """Number of runs of the probe's programs, whose total time is `probe_ns`."""
    lost: int = 0
    """Calls that were not recorded, because the probe's BPF map was full."""
    per_cpu: tuple[HandlerCalls, ...] = ()
    """The same calls as in `handlers`, by CPU; a CPU that ran no handler is left out."""
    own_ns: float | None = None
    """Nanoseconds of the probe itself that each call's time included, and that `total_ns` and
    `none_ns` no longer do; None if they were not measured, and are in these times."""


class HandlerCount(msgspec.Struct, frozen=True):
    """The number of calls of one handler, whose duration was not measured."""

    irq: int
    handler: str
    calls: int


class HandlerCounts(msgspec.Struct, frozen=True):
    """The calls of interrupt handlers in one window, on a kernel without eBPF."""

    seconds: Seconds
    source: str
    """`tracefs`: the kernel counted the calls. `proc`: dirtune inferred the calls from
    /proc/interrupts, because the kernel calls every handler of a line at each of its
    interrupts."""
    handlers: tuple[HandlerCount, ...]
    line_counts: dict[str, int]
    """Interrupts of each numbered line in the same window, from /proc/interrupts.

    A line whose counts were reset is left out.
    """
    none: dict[str, int]
    """Calls that returned IRQ_NONE, by line (`tracefs`); or the smallest possible number of
    interrupts that no handler of the line accepted (`proc`, from /proc/irq/N/spurious)."""
    lost: int = 0
    """Calls that were not counted, because the table of the tracefs trigger was full."""
