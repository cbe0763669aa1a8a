"""The irq probe: what every interrupt handler of this machine costs, by line and name.

Source: raw tracepoints `irq_handler_entry` and `irq_handler_exit` (kernel/irq/handle.c,
`__handle_irq_event_percpu()`, one pair per handler and interrupt), summed in the kernel by
`irq.bpf.c`. Threaded handlers (`threadirqs`, PREEMPT_RT) return IRQ_WAKE_THREAD: their time
is that of the wake-up alone, the work is in the `irq/N-name` thread.

Nothing stays attached: programs and maps live in descriptors of this process, so they are
gone when it ends, however it ends.
"""

import ctypes
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, overload

from dirtune.analyse.doctor import probe_obstacles
from dirtune.analyse.handlers import HandlerCalls, HandlerWindow
from dirtune.collect.facts import find_bcc, read_facts
from dirtune.collect.interrupts import parse_interrupts
from dirtune.errors import NotPossible
from dirtune.host import Host, LiveHost

_SOURCE = Path(__file__).with_name("irq.bpf.c")
# A name that does not fit is cut. mlx5_comp12@pci:0000:3b:00.0 has 29 characters.
_NAME_BYTES = 44
_MAX_HANDLERS = 1024
_WRAP = 2**32  # the kernel counts a line's interrupts per CPU in an unsigned int
_RUN_TIME = 0  # BPF_STATS_RUN_TIME in linux/bpf.h


@dataclass(frozen=True, slots=True)
class Reading:
    """The probe's maps and the kernel's own count at one moment."""

    taken_s: float
    """Monotonic clock."""
    interrupts: str
    """Text of /proc/interrupts, read right before the maps."""
    handlers: Mapping[int, HandlerCalls]
    """By address of the `irqaction`: two handlers of one line may share a name."""
    lost: int
    """Calls of handlers for which the map had no room."""
    programs: tuple[int, int] | None
    """Nanoseconds and runs of the probe's programs; None where the kernel keeps no count."""


class Program(Protocol):
    """A loaded BPF program, as bcc keeps it."""

    fd: int


class Copy(Protocol):
    """One CPU's copy of `struct handler` in irq.bpf.c."""

    irq: int
    name: bytes
    calls: int
    none: int
    wake_thread: int
    total_ns: int
    none_ns: int
    max_ns: int


class Key(Protocol):
    """A map's key: the address of an `irqaction`."""

    value: int


class Bpf(Protocol):
    """The part of bcc's `BPF` that is used here; bcc has no types of its own."""

    funcs: Mapping[bytes, Program]

    @overload
    def __getitem__(self, table: Literal["handlers"]) -> Mapping[Key, Sequence[Copy]]: ...
    @overload
    def __getitem__(self, table: Literal["lost"]) -> Mapping[int, Sequence[int]]: ...
    def cleanup(self) -> None:
        """Detach and free everything."""
        ...


def measure(seconds: float, *, progress: Callable[[str], None] | None = None) -> HandlerWindow:
    """Return what the handlers cost in the next *seconds*; compiles before the window opens.

    `NotPossible` says what this host lacks and the remedy.
    """
    host = LiveHost()
    say = progress or (lambda _: None)
    say("compiling the irq probe")
    began = time.monotonic()
    with _statistics(), _loaded(host) as bpf:
        _reading(host, bpf)  # the first one builds bcc's tables: not between two counts
        loaded = time.monotonic()
        say(f"measuring interrupt handlers for {seconds:g} s")
        before = _reading(host, bpf)
        time.sleep(seconds)
        after = _reading(host, bpf)
    return decode(before, after, load_seconds=loaded - began)


def decode(before: Reading, after: Reading, *, load_seconds: float) -> HandlerWindow:
    """Return the difference of two readings, summed by line and handler name."""
    calls = [_minus(now, before.handlers.get(action)) for action, now in after.handlers.items()]
    sums: dict[tuple[int, str], HandlerCalls] = {}
    for one in calls:
        if one.calls:
            key = (one.irq, one.handler)
            sums[key] = _plus(sums[key], one) if key in sums else one
    probe_ns, events = _program_cost(before.programs, after.programs)
    return HandlerWindow(
        seconds=after.taken_s - before.taken_s,
        handlers=tuple(sums[key] for key in sorted(sums)),
        line_counts=_line_counts(before.interrupts, after.interrupts),
        load_seconds=load_seconds,
        probe_ns=probe_ns,
        events=events,
        lost=after.lost - before.lost,
    )


def _program_cost(
    before: tuple[int, int] | None, after: tuple[int, int] | None
) -> tuple[int, int] | tuple[None, None]:
    # No runs at all means that statistics were off: the programs that read this ran.
    if before is None or after is None or after[1] == before[1]:
        return None, None
    return after[0] - before[0], after[1] - before[1]


def _minus(now: HandlerCalls, then: HandlerCalls | None) -> HandlerCalls:
    if then is None:
        return now
    return HandlerCalls(
        irq=now.irq,
        handler=now.handler,
        calls=now.calls - then.calls,
        none=now.none - then.none,
        wake_thread=now.wake_thread - then.wake_thread,
        total_ns=now.total_ns - then.total_ns,
        none_ns=now.none_ns - then.none_ns,
        max_ns=now.max_ns,  # a maximum has no difference: it holds since the probe was loaded
    )


def _plus(a: HandlerCalls, b: HandlerCalls) -> HandlerCalls:
    return HandlerCalls(
        irq=a.irq,
        handler=a.handler,
        calls=a.calls + b.calls,
        none=a.none + b.none,
        wake_thread=a.wake_thread + b.wake_thread,
        total_ns=a.total_ns + b.total_ns,
        none_ns=a.none_ns + b.none_ns,
        max_ns=max(a.max_ns, b.max_ns),
    )


def _line_counts(before: str, after: str) -> dict[str, int]:
    then = {line.irq: line.counts for line in parse_interrupts(before).lines}
    return {
        line.irq: _counted(then.get(line.irq), line.counts)
        for line in parse_interrupts(after).lines
        if line.irq.isdigit()
    }


def _counted(then: tuple[int, ...] | None, now: tuple[int, ...]) -> int:
    if then is None or len(then) != len(now):  # a new line, or a CPU came or went
        return max(0, sum(now) - sum(then or ()))
    return sum((b - a) % _WRAP for a, b in zip(then, now, strict=True))


@contextmanager
def _loaded(host: Host) -> Iterator[Bpf]:
    obstacles = probe_obstacles(read_facts(host))
    if obstacles:
        raise NotPossible(f"irq probe: {obstacles[0].why}: {obstacles[0].remedy}")
    with find_bcc():
        from bcc import BPF
    try:
        bpf = BPF(
            src_file=str(_SOURCE),
            cflags=[f"-DNAME_BYTES={_NAME_BYTES}", f"-DMAX_HANDLERS={_MAX_HANDLERS}"],
        )
    except Exception as error:
        # bcc raises bare Exception; what the compiler said is on standard error already.
        raise NotPossible(f"irq probe: the kernel or the compiler refused it: {error}") from error
    try:
        yield bpf
    finally:
        bpf.cleanup()


def _reading(host: Host, bpf: Bpf) -> Reading:
    # The same order at both ends: both clocks are late by the same little, which cancels.
    interrupts = host.read("/proc/interrupts")
    taken_s = time.monotonic()
    handlers = {key.value: over_cpus(value) for key, value in bpf["handlers"].items()}
    lost = sum(bpf["lost"][0])
    return Reading(taken_s, interrupts, handlers, lost, _program_statistics(host, bpf))


def over_cpus(copies: Sequence[Copy]) -> HandlerCalls:
    """Return one handler's calls summed over its per-CPU copies."""
    # Only the CPU that met the handler first wrote down its number and name.
    return HandlerCalls(
        irq=max(copy.irq for copy in copies),
        handler=max(copy.name for copy in copies).decode(errors="replace"),
        calls=sum(copy.calls for copy in copies),
        none=sum(copy.none for copy in copies),
        wake_thread=sum(copy.wake_thread for copy in copies),
        total_ns=sum(copy.total_ns for copy in copies),
        none_ns=sum(copy.none_ns for copy in copies),
        max_ns=max(copy.max_ns for copy in copies),
    )


@contextmanager
def _statistics() -> Iterator[None]:
    """Let the kernel time BPF programs while a descriptor is open (Linux 5.8)."""
    try:
        descriptor = ctypes.CDLL("libbpf.so.1").bpf_enable_stats(_RUN_TIME)
    except (OSError, AttributeError):
        descriptor = -1  # without them the result says that its own cost is not known
    try:
        yield
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _program_statistics(host: Host, bpf: Bpf) -> tuple[int, int] | None:
    texts = [host.read(f"/proc/self/fdinfo/{program.fd}") for program in bpf.funcs.values()]
    return parse_program_statistics(texts)


def parse_program_statistics(texts: list[str]) -> tuple[int, int] | None:
    """Return nanoseconds and runs summed over the fdinfo *texts* of BPF programs.

    None where the kernel prints no `run_cnt`; 0 runs where statistics are off.
    """
    fields = [dict(line.split(":", 1) for line in text.splitlines()) for text in texts]
    if not all("run_cnt" in field for field in fields):
        return None
    return (
        sum(int(field["run_time_ns"]) for field in fields),
        sum(int(field["run_cnt"]) for field in fields),
    )
