"""The cost of the interrupt handlers of a line, as the irq probe measures it. Pure data."""

import msgspec


class HandlerCalls(msgspec.Struct, frozen=True):
    """Calls of one handler on one interrupt line."""

    irq: int
    """Linux interrupt number, as in /proc/interrupts."""
    handler: str
    """The name under which the handler was registered (`irqaction.name`)."""
    calls: int
    none: int
    """Calls that returned IRQ_NONE: the device had not raised the line."""
    wake_thread: int
    """Calls that returned IRQ_WAKE_THREAD."""
    total_ns: int
    none_ns: int
    """Nanoseconds in calls that returned IRQ_NONE."""
    max_ns: int
    cpu: int | None = None
    """The CPU; None for the sum over all CPUs."""
    histogram: tuple[int, ...] = ()
    """Calls by duration: slot k counts those of 2^k to 2^(k+1) - 1 ns."""


class HandlerWindow(msgspec.Struct, frozen=True):
    """One window of the irq probe."""

    seconds: float
    handlers: tuple[HandlerCalls, ...]
    line_counts: dict[str, int]
    """Interrupts of each numbered line in the same window, from /proc/interrupts.

    A line whose counts were reset is left out.
    """
    load_seconds: float | None = None
    """Seconds that compiling and attaching the probe took before the window."""
    probe_ns: int | None = None
    """Nanoseconds spent in the probe's own programs; None if not measured."""
    events: int | None = None
    """Runs of the probe's programs behind `probe_ns`."""
    lost: int = 0
    """Calls of handlers for which the probe's map had no room."""
    per_cpu: tuple[HandlerCalls, ...] = ()
    """The calls in `handlers` by CPU, without CPUs that ran none."""


class HandlerCount(msgspec.Struct, frozen=True):
    """The number of calls of a handler, if the duration of calls is unknown."""

    irq: int
    handler: str
    calls: int


class HandlerCounts(msgspec.Struct, frozen=True):
    """One window of the handlers on a kernel without eBPF."""

    seconds: float
    source: str
    """`tracefs` counted the calls; `proc` infers them: every handler of a line is called for
    each of its interrupts."""
    handlers: tuple[HandlerCount, ...]
    line_counts: dict[str, int]
    """Interrupts of each numbered line in the same window, from /proc/interrupts.

    A line whose counts were reset is left out.
    """
    none: dict[str, int]
    """By line, the calls that returned IRQ_NONE (`tracefs`), or the smallest possible number of
    interrupts that no handler of the line accepted (`proc`, from /proc/irq/N/spurious)."""
    lost: int = 0
    """Calls for which the trigger's table had no room (`tracefs`)."""
