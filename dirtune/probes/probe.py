"""The parts of a probe: a program in C, its points, and the reading and decoding of its maps.

A probe is the constant `PROBE` of a module with its C beside it: `irq.py` and `irq.bpf.c`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from dirtune.analyse.probed import ProbeCost
from dirtune.collect.kallsyms import Symbols
from dirtune.host import Host

R = TypeVar("R")


class Program(Protocol):
    """A loaded BPF program, as bcc keeps it."""

    fd: int


class Bpf(Protocol):
    """The part of bcc's `BPF` that is used here; bcc has no types of its own."""

    funcs: Mapping[bytes, Program]

    def __getitem__(self, table: str) -> Mapping[Any, Any]:
        """Return a map by its name in C."""
        ...


@dataclass(frozen=True, slots=True)
class Point:
    """The point that one function of the C is attached to."""

    kind: str
    """tracepoint (raw), kprobe, kretprobe, fentry or clock."""
    target: str
    """`group:event` of a tracepoint, a kernel function, or a frequency in Hz."""
    function: str
    """The function's name in C."""
    field: str = ""
    """A field that the tracepoint must have, because older kernels lack it."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way of attaching a probe; the first way that this kernel has is used."""

    what: str
    """Name of the way: `raw tracepoints`."""
    points: tuple[Point, ...]
    macros: tuple[str, ...] = ()
    """Macros that the compiler defines."""


@dataclass(frozen=True, slots=True)
class Moment(Generic[R]):
    """One reading of a probe's maps."""

    taken_s: float
    """Monotonic clock."""
    data: R


@dataclass(frozen=True, slots=True)
class Context:
    """The values that decoding may need beside the maps."""

    cost: ProbeCost
    load_seconds: float
    symbols: Callable[[], Symbols]
    """Reads the kernel's symbols, a hundred thousand rows."""


@dataclass(frozen=True, slots=True)
class Probe(Generic[R]):
    """One probe."""

    name: str
    window: str
    """The field of `Probed` that holds its window."""
    ways: tuple[Way, ...]
    read: Callable[[Bpf, Host], R]
    """Copies its maps; expensive work is left to `decode`."""
    decode: Callable[[Moment[R], Moment[R], Context], object]
    """Returns what happened between two readings. Pure."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Limits of its maps, by macro."""
    members: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """(structure, member) by the macro that stands for the member's offset."""


def moved_slots(now: Sequence[int], then: Sequence[int]) -> tuple[int, ...]:
    """Return the events of each slot of a histogram between two readings of it."""
    return tuple(a - b for a, b in zip(now, then, strict=True))
