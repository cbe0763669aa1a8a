"""The irq probe, which measures the cost of every interrupt handler by line, name and CPU.

Source: raw tracepoints `irq_handler_entry` and `irq_handler_exit` (kernel/irq/handle.c,
`__handle_irq_event_percpu()`, one pair per handler and interrupt), summed in the kernel by
`irq.bpf.c`. For a threaded handler (`threadirqs`, PREEMPT_RT), which returns IRQ_WAKE_THREAD, the
probe measures only the wake-up of the thread `irq/N-name`, which does the work.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from dirtune.analyse.handlers import HandlerCalls, HandlerWindow
from dirtune.host import Host
from dirtune.probes import from_handlers, steady
from dirtune.probes.probe import Bpf, Context, Moment, Point, Probe, Way, moved_slots

_INTERRUPTS = "/proc/interrupts"


@dataclass(frozen=True, slots=True)
class Reading:
    """The probe's maps and /proc/interrupts at one moment."""

    interrupts: str
    """The text of /proc/interrupts at this moment."""
    handlers: Mapping[int, tuple[HandlerCalls, ...]]
    """The calls on each CPU, by the address of the `irqaction`.

    The key is not the name, because two handlers of a line may have the same name.
    """
    lost: int
    """The number of calls that were not counted, because the map had no room."""


class Copy(Protocol):
    """One CPU's copy of `struct irq_handler` in irq.bpf.c."""

    action: int
    calls: int
    none: int
    wake_thread: int
    total_ns: int
    none_ns: int
    max_ns: int
    slots: Sequence[int]


def read(bpf: Bpf, host: Host) -> Reading:
    """Return a copy of the probe's maps and of /proc/interrupts."""
    text, (rows, names) = steady.read(lambda: host.read(_INTERRUPTS), lambda: _copies(bpf))
    lost = sum(bpf["irq_lost"][0])
    return Reading(text, by_handler(rows, names), lost)


def _copies(bpf: Bpf) -> tuple[list[Sequence[Copy]], dict[int, tuple[int, str]]]:
    """Return the entries in use, because reading all of them takes longer, and the names."""
    names = from_handlers.names(bpf)
    entries = {from_handlers.entry_of(action) for action in names}
    rows = [bpf["irq_handlers"][entry] for entry in sorted(entries)]
    return rows + [copies for _, copies in bpf["irq_more_handlers"].items()], names


def by_handler(
    rows: Iterable[Sequence[Copy]], names: Mapping[int, tuple[int, str]]
) -> dict[int, tuple[HandlerCalls, ...]]:
    """Return the calls of each handler on the CPUs that have an entry for the handler.

    Each of *rows* has one entry for each CPU, and the entries of a row may belong to different
    handlers. *names* has the line and the name of each handler.
    """
    handlers: dict[int, list[HandlerCalls]] = {}
    for copies in rows:
        for cpu, copy in enumerate(copies):
            if copy.action in names:
                calls = _calls(copy, cpu, *names[copy.action])
                handlers.setdefault(copy.action, []).append(calls)
    return {action: tuple(calls) for action, calls in handlers.items()}


def _calls(copy: Copy, cpu: int, irq: int, name: str) -> HandlerCalls:
    return HandlerCalls(
        irq=irq,
        handler=name,
        calls=copy.calls,
        none=copy.none,
        wake_thread=copy.wake_thread,
        total_ns=copy.total_ns,
        none_ns=copy.none_ns,
        max_ns=copy.max_ns,
        cpu=cpu,
        histogram=tuple(copy.slots),
    )


def decode(before: Moment[Reading], after: Moment[Reading], context: Context) -> HandlerWindow:
    """Return the handlers' calls between two readings, by interrupt line and handler name."""
    # Imported after the measurement, because dirtune should begin it without delay.
    from dirtune.analyse.rates import line_counts
    from dirtune.collect.interrupts import parse_interrupts

    own_ns = context.own_ns or 0.0

    def correct(calls: HandlerCalls) -> HandlerCalls:
        return _without(own_ns, calls)

    per_cpu = _summed(
        ((one.irq, one.handler, one.cpu), one)
        for action, now in after.data.handlers.items()
        for one in map(correct, _since(now, before.data.handlers.get(action)))
    )
    total = _summed(
        ((one.irq, one.handler), msgspec.structs.replace(one, cpu=None)) for one in per_cpu
    )
    seconds = after.taken_s - before.taken_s
    then, now = map(parse_interrupts, (before.data.interrupts, after.data.interrupts))
    return HandlerWindow(
        seconds=seconds,
        handlers=total,
        line_counts=line_counts(then, now, seconds),
        load_seconds=context.load_seconds,
        probe_ns=context.cost.ns,
        events=context.cost.events,
        lost=after.data.lost - before.data.lost,
        per_cpu=per_cpu,
        own_ns=context.own_ns,
    )


def _since(
    now: tuple[HandlerCalls, ...], then: tuple[HandlerCalls, ...] | None
) -> Iterable[HandlerCalls]:
    earlier = {one.cpu: one for one in then or ()}
    return (moved for one in now if (moved := _minus(one, earlier.get(one.cpu))).calls)


def _minus(now: HandlerCalls, then: HandlerCalls | None) -> HandlerCalls:
    if then is None:
        return now
    return msgspec.structs.replace(
        now,
        calls=now.calls - then.calls,
        none=now.none - then.none,
        wake_thread=now.wake_thread - then.wake_thread,
        total_ns=now.total_ns - then.total_ns,
        none_ns=now.none_ns - then.none_ns,
        # Two maxima have no meaningful difference; this is the maximum since the probe was loaded.
        histogram=moved_slots(now.histogram, then.histogram),
    )


def _without(own_ns: float, calls: HandlerCalls) -> HandlerCalls:
    """Return *calls* without the probe's own time; the longest call and the histogram keep it."""
    return msgspec.structs.replace(
        calls,
        total_ns=max(0, calls.total_ns - round(own_ns * calls.calls)),
        none_ns=max(0, calls.none_ns - round(own_ns * calls.none)),
    )


def _summed(
    calls: Iterable[tuple[tuple[int | str | None, ...], HandlerCalls]],
) -> tuple[HandlerCalls, ...]:
    sums: dict[tuple[int | str | None, ...], HandlerCalls] = {}
    for key, one in calls:
        sums[key] = _plus(sums[key], one) if key in sums else one
    return tuple(sorted(sums.values(), key=lambda one: (one.irq, one.handler, one.cpu or 0)))


def _plus(a: HandlerCalls, b: HandlerCalls) -> HandlerCalls:
    return msgspec.structs.replace(
        a,
        calls=a.calls + b.calls,
        none=a.none + b.none,
        wake_thread=a.wake_thread + b.wake_thread,
        total_ns=a.total_ns + b.total_ns,
        none_ns=a.none_ns + b.none_ns,
        max_ns=max(a.max_ns, b.max_ns),
        histogram=tuple(x + y for x, y in zip(a.histogram, b.histogram, strict=True)),
    )


PROBE = Probe(
    name="irq",
    window="handlers",
    ways=(
        Way(
            "raw tracepoints",
            (
                Point("tracepoint", "irq:irq_handler_entry", "dt_irq_entry"),
                Point("tracepoint", "irq:irq_handler_exit", "dt_irq_exit"),
            ),
        ),
    ),
    read=read,
    decode=decode,
    sizes={**from_handlers.SIZES, "IRQ_MAX_MORE": 768},
    empty=(
        Point("tracepoint", "task:task_rename", "dt_irq_empty_entry"),
        Point("tracepoint", "task:task_rename", "dt_irq_empty_exit"),
    ),
    members={"IRQACTION_NAME": ("irqaction", "name")},
)
