"""The locks probe, which measures waits for kernel locks, with caller and duration.

Source: raw tracepoints `contention_begin` and `contention_end` (include/trace/events/lock.h,
Linux 5.19; CONFIG_LOCK_STAT is not needed), summed in the kernel by `locks.bpf.c`. On older
kernels the probe uses kprobes on the slow path of spin locks, and does not see mutexes and
semaphores. The probe costs nothing for a lock that nobody waits for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from dirtune.analyse.locks import from_caller, lock_kind, lock_name
from dirtune.analyse.probed import LockWaits, LockWindow
from dirtune.collect.kallsyms import Symbols
from dirtune.host import Host
from dirtune.probes.probe import Bpf, Context, Moment, Point, Probe, Way, moved_slots

_MAX_STACKS = 4096


@dataclass(frozen=True, slots=True)
class Waits:
    """The waits for the lock at one address, summed over all CPUs."""

    waits: int
    total_ns: int
    max_ns: int
    histogram: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """The probe's maps at one moment."""

    locks: Mapping[tuple[int, int, int], Waits]
    """The waits by address of the lock, flags and number of the stack."""
    stacks: Mapping[int, tuple[int, ...]]
    """The addresses of each stack by its number, the innermost address first."""
    lost: int


def read(bpf: Bpf, _: Host) -> Reading:
    """Return a copy of the probe's maps."""
    locks = {
        (k.lock, k.flags, k.stack): _waits(copies) for k, copies in bpf["lock_contended"].items()
    }
    table: Any = bpf["lock_stacks"]
    stacks = {number: tuple(table.walk(number)) for _, _, number in locks if number >= 0}
    return Reading(locks, stacks, sum(bpf["lock_lost"][0]))


def _waits(copies: Any) -> Waits:  # noqa: ANN401  (an array of struct lock_waits)
    return Waits(
        waits=sum(copy.waits for copy in copies),
        total_ns=sum(copy.total_ns for copy in copies),
        max_ns=max(copy.max_ns for copy in copies),
        histogram=tuple(map(sum, zip(*(copy.slots for copy in copies), strict=True))),
    )


def decode(before: Moment[Reading], after: Moment[Reading], context: Context) -> LockWindow:
    """Return the waits between two readings: one row per lock and stack, the longest first."""
    sums: dict[tuple[str, str, tuple[str, ...]], LockWaits] = {}
    symbols = context.symbols()
    for key, now in after.data.locks.items():
        moved = _minus(now, before.data.locks.get(key))
        if moved.waits:
            row = _row(key, moved, after.data.stacks, symbols)
            place = (row.lock, row.kind, row.stack)
            sums[place] = _plus(sums[place], row) if place in sums else row
    return LockWindow(
        seconds=after.taken_s - before.taken_s,
        locks=tuple(sorted(sums.values(), key=lambda row: -row.total_ns)),
        lost=after.data.lost - before.data.lost,
    )


def _row(
    key: tuple[int, int, int],
    moved: Waits,
    stacks: Mapping[int, tuple[int, ...]],
    symbols: Symbols,
) -> LockWaits:
    address, flags, stack = key
    frames = symbols.frames(stacks.get(stack, ()))
    lock, caller = lock_name(symbols.at(address), frames)
    return LockWaits(
        lock=lock,
        kind=lock_kind(flags),
        caller=caller,
        stack=from_caller(frames),
        waits=moved.waits,
        total_ns=moved.total_ns,
        max_ns=moved.max_ns,
        histogram=moved.histogram,
    )


def _minus(now: Waits, then: Waits | None) -> Waits:
    if then is None:
        return now
    slots = moved_slots(now.histogram, then.histogram)
    return Waits(now.waits - then.waits, now.total_ns - then.total_ns, now.max_ns, slots)


def _plus(a: LockWaits, b: LockWaits) -> LockWaits:
    return msgspec.structs.replace(
        a,
        waits=a.waits + b.waits,
        total_ns=a.total_ns + b.total_ns,
        max_ns=max(a.max_ns, b.max_ns),
        histogram=tuple(x + y for x, y in zip(a.histogram, b.histogram, strict=True)),
    )


def _slow_paths(*functions: str) -> Way:
    points = (
        point
        for function in functions
        for point in (
            Point("kprobe", function, "dt_lock_slowpath"),
            Point("kretprobe", function, "dt_lock_slowpath_return"),
        )
    )
    return Way(f"kprobes on {' and '.join(functions)}", tuple(points), macros=("LOCK_KPROBES",))


PROBE = Probe(
    name="locks",
    window="locks",
    ways=(
        Way(
            "raw tracepoints",
            (
                Point("tracepoint", "lock:contention_begin", "dt_lock_contention_begin"),
                Point("tracepoint", "lock:contention_end", "dt_lock_contention_end"),
            ),
        ),
        # A kernel for guests has both functions, and uses the first if the hypervisor supports it.
        _slow_paths("__pv_queued_spin_lock_slowpath", "native_queued_spin_lock_slowpath"),
        _slow_paths("native_queued_spin_lock_slowpath"),
        _slow_paths("queued_spin_lock_slowpath"),
    ),
    read=read,
    decode=decode,
    sizes={
        "LOCK_MAX_WAITERS": 4096,
        "LOCK_MAX_LOCKS": 4096,
        "LOCK_MAX_STACKS": _MAX_STACKS,
        "LOCK_CONTEXTS": 4,
    },
)
