"""Forecast the gain if the NIC no longer shares its interrupt line. Pure.

On a shared line, the handlers of the other devices also run at every interrupt of the NIC, find
nothing to do and return IRQ_NONE. Giving the NIC its own line removes exactly these calls; calls
for the other devices' own interrupts remain.
"""

import math
from collections.abc import Iterable

import msgspec

from dirtune.analyse.handlers import HandlerWindow
from dirtune.analyse.run import Forecast

_Z95 = 1.96


class Waste(msgspec.Struct, frozen=True):
    """The time that other devices' handlers wasted on a NIC's line in one window."""

    irq: int
    handlers: tuple[str, ...]
    """Names of the other devices' handlers that returned IRQ_NONE."""
    interrupts: int | None
    """Interrupts of the line according to /proc/interrupts; None if the line is missing there."""
    calls: int
    """Calls of the other devices' handlers, whatever they returned."""
    none: int
    """Needless calls: calls of the other devices' handlers that returned IRQ_NONE."""
    none_ns: int
    """Nanoseconds spent in needless calls."""
    line_ns: int
    """Nanoseconds spent in all handlers of the line."""
    cpu_percent: float
    """Time in needless calls, as a percentage of one CPU over the window."""

    @property
    def ns_per_call(self) -> float | None:
        """Mean duration of the calls that returned IRQ_NONE, in nanoseconds; None if unknown."""
        return self.none_ns / self.none if self.none else None

    @property
    def calls_per_interrupt(self) -> float | None:
        """Calls that returned IRQ_NONE, per interrupt of the line; None if unknown."""
        return self.none / self.interrupts if self.interrupts else None

    @property
    def share_of_line(self) -> float | None:
        """Time in calls that returned IRQ_NONE, as a share (0 to 1) of the line's handler time."""
        return self.none_ns / self.line_ns if self.line_ns else None


def wasted(window: HandlerWindow, nic_actions: frozenset[str]) -> tuple[Waste, ...]:
    """Return the time wasted on each shared line of a NIC, the most expensive line first.

    *nic_actions* are the handlers that belong to NICs. Calls that return IRQ_NONE are wasted, but
    not on a line that a NIC has for itself, such as an MSI-X vector.
    """
    lines = {h.irq for h in window.handlers if h.handler in nic_actions}
    wastes = (_waste(window, irq, nic_actions) for irq in lines)
    return tuple(sorted((w for w in wastes if w.calls), key=lambda w: (-w.none_ns, w.irq)))


def _waste(window: HandlerWindow, irq: int, nic_actions: frozenset[str]) -> Waste:
    on_line = [h for h in window.handlers if h.irq == irq]
    innocent = [h for h in on_line if h.handler not in nic_actions]
    none_ns = sum(h.none_ns for h in innocent)
    return Waste(
        irq=irq,
        handlers=tuple(h.handler for h in innocent if h.none),
        interrupts=window.line_counts.get(str(irq)),
        calls=sum(h.calls for h in innocent),
        none=sum(h.none for h in innocent),
        none_ns=none_ns,
        line_ns=sum(h.total_ns for h in on_line),
        cpu_percent=100 * none_ns / (window.seconds * 1e9),
    )


def forecast(
    window: HandlerWindow,
    irqs: Iterable[int],
    nic_actions: frozenset[str],
    connections: int | None,
    cpu_us_per_connection: float | None,
) -> Forecast:
    """Return the expected gain if NICs no longer share the lines *irqs*.

    The director handled *connections* connections in the window, and used *cpu_us_per_connection*
    microseconds of CPU time for each. If either number is unknown, the forecast has no ratio.

    The interval shows how precisely the time in needless calls was measured; the real gain may lie
    outside it. A call is needless if the handler's device did not interrupt. Both ends include
    1.96 times the counting error of the calls. The probe itself also takes time in each call, and
    not all of it can be measured: the end with the smaller gain subtracts the most that it can be.
    The kernel's work around a call is not included, because the probe cannot measure it.
    """
    chosen = frozenset(irqs)
    lines = tuple(w for w in wasted(window, nic_actions) if w.irq in chosen)
    none_ns = sum(w.none_ns for w in lines)
    per_connection = none_ns / 1e3 / connections if connections else None
    share = (
        min(1.0, per_connection / cpu_us_per_connection)
        if per_connection is not None and cpu_us_per_connection
        else None
    )
    return Forecast(
        irqs=tuple(sorted(w.irq for w in lines)),
        handlers=tuple(sorted({name for w in lines for name in w.handlers})),
        wasted_cpu_percent=100 * none_ns / (window.seconds * 1e9),
        wasted_us_per_connection=per_connection,
        ratio=None if share is None else 1 - share,
        interval=None if share is None else _interval(share, lines, _probe_ns_per_call(window)),
        basis=_basis(window, lines, connections, cpu_us_per_connection),
    )


def _interval(share: float, lines: tuple[Waste, ...], probe_ns: float) -> tuple[float, float]:
    calls = sum(w.none for w in lines)
    if not calls:
        return (1.0, 1.0)
    error = _Z95 / math.sqrt(calls)
    real = max(0.0, 1 - probe_ns * calls / sum(w.none_ns for w in lines))
    return (max(0.0, 1 - share * (1 + error)), 1 - share * real * max(0.0, 1 - error))


def _probe_ns_per_call(window: HandlerWindow) -> float:
    # The two time stamps of a call enclose the end of one probe program and the start of the next.
    # What was measured of that is no longer in the times.
    program_ns = window.probe_ns / window.events if window.probe_ns and window.events else 0.0
    return max(0.0, program_ns - (window.own_ns or 0.0))


def _basis(
    window: HandlerWindow,
    lines: tuple[Waste, ...],
    connections: int | None,
    cpu_us_per_connection: float | None,
) -> str:
    calls = sum(w.none for w in lines)
    if not calls:
        seconds = f"{window.seconds:.1f} s"
        return f"no handler was called for nothing in {seconds}, so there is nothing to gain"
    none_ns = sum(w.none_ns for w in lines)
    text = (
        f"{calls:,} calls returned IRQ_NONE in {window.seconds:.1f} s, "
        f"taking {none_ns / calls / 1e3:.1f} us each and {none_ns / 1e6:.1f} ms in total"
    )
    if not connections:
        return f"{text}; the number of connections is unknown, so the relative gain is unknown"
    us, over = none_ns / 1e3 / connections, f"over {connections:,} connections"
    if not cpu_us_per_connection:
        unknown = "the CPU time per connection was not measured, so the relative gain is unknown"
        return f"{text}; the calls took {us:.1f} us per connection, {over}; {unknown}"
    return (
        f"{text}; the calls took {us:.1f} us of the {cpu_us_per_connection:.0f} us of CPU time "
        f"per connection, {over}"
    )
