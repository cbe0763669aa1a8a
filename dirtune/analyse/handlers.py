"""What the interrupt handlers of a line cost, as the irq probe measured it. Pure data."""

import msgspec


class HandlerCalls(msgspec.Struct, frozen=True):
    """Calls of one handler on one interrupt line, summed over CPUs."""

    irq: int
    """Linux interrupt number, as in /proc/interrupts."""
    handler: str
    """Name the handler was registered with (`irqaction.name`)."""
    calls: int
    none: int
    """Calls that returned IRQ_NONE: the device had not raised the line."""
    wake_thread: int
    """Calls that returned IRQ_WAKE_THREAD."""
    total_ns: int
    none_ns: int
    """Nanoseconds in calls that returned IRQ_NONE."""
    max_ns: int


class HandlerWindow(msgspec.Struct, frozen=True):
    """One window of the irq probe."""

    seconds: float
    handlers: tuple[HandlerCalls, ...]
    line_counts: dict[str, int]
    """Interrupts of each numbered line in the same window, from /proc/interrupts."""
    load_seconds: float | None = None
    """Seconds that compiling and attaching the probe took before the window."""
    probe_ns: int | None = None
    """Nanoseconds spent in the probe's own programs; None where not measured."""
    events: int | None = None
    """Runs of the probe's programs behind `probe_ns`."""
    lost: int = 0
    """Calls of handlers for which the probe's bounded map had no room."""
