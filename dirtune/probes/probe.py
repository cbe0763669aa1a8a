"""The parts of a probe: a C program, its attach points, and functions that read its maps.

A probe is the constant `PROBE` of a module whose C program is in the same folder, such as `irq.py`
and `irq.bpf.c`. `make objects` builds `irq.bpf.o` from the program.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from dirtune.analyse.probed import ProbeCost
from dirtune.collect.kallsyms import Symbols
from dirtune.host import Host

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Point:
    """An attach point in the kernel, and the function of the C program that is attached there."""

    kind: str
    """tracepoint (raw), kprobe, kretprobe, fentry or clock (samples at a frequency)."""
    target: str
    """The `group:event` of a tracepoint, a kernel function, for fentry the `module:function`, or a
    frequency in Hz."""
    function: str
    """The name of the attached function in the C program."""
    field: str = ""
    """A field that the tracepoint must have; older kernels lack the field."""


class Bpf(Protocol):
    """Loaded programs and maps: `prebuilt.Prebuilt` or `compiled.Compiled`."""

    def attach(self, point: Point) -> None:
        """Attach the program of *point*."""
        ...

    def detach(self, point: Point) -> None:
        """Detach the program of *point*; its maps remain."""
        ...

    def descriptor(self, function: str) -> int:
        """Return the descriptor of a program."""
        ...

    def __getitem__(self, table: str) -> Mapping[Any, Any]:
        """Return the map called *table* in the C program."""
        ...

    def close(self) -> None:
        """Detach and unload everything. Another call does nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Way:
    """One way to attach a probe; dirtune uses the first way that the kernel supports."""

    what: str
    """The name of the way, such as `raw tracepoints`."""
    points: tuple[Point, ...]
    macros: tuple[str, ...] = ()
    """Macros that are defined when bcc compiles the C program."""


@dataclass(frozen=True, slots=True)
class Moment(Generic[R]):
    """One reading of a probe's maps."""

    taken_s: float
    """The time of the reading, in seconds of the monotonic clock."""
    data: R


@dataclass(frozen=True, slots=True)
class Context:
    """Data that `Probe.decode` may need in addition to the maps."""

    cost: ProbeCost
    load_seconds: float
    symbols: Callable[[], Symbols]
    """A function that reads the kernel's symbols, which are about a hundred thousand rows."""
    build_ids: Callable[[Iterable[str]], Mapping[str, str]] = lambda _: {}
    """A function that reads the build ids of the kernel and of some modules."""
    own_ns: float | None = None
    """Nanoseconds of the probe itself between its two stamps; None if they were not measured."""


@dataclass(frozen=True, slots=True)
class Probe(Generic[R]):
    """The definition of one probe."""

    name: str
    window: str
    """The field of `Probed` that contains the probe's result."""
    ways: tuple[Way, ...]
    read: Callable[[Bpf, Host], R]
    """Function that copies the maps; expensive work is left to `decode`."""
    decode: Callable[[Moment[R], Moment[R], Context], object]
    """Pure function that returns the events between two readings."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """The size limits of the maps, by macro."""
    empty: tuple[Point, ...] = ()
    """Two programs of the prebuilt object at one point of the kernel. They measure the time of
    the probe itself between its two stamps (`calibration`)."""
    members: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """The (structure, member) pairs whose offsets the C program needs, by macro."""


def moved_slots(now: Sequence[int], then: Sequence[int]) -> tuple[int, ...]:
    """Return the events in each slot of a histogram between two readings.

    *then* is the earlier reading, and *now* the later one.
    """
    return tuple(a - b for a, b in zip(now, then, strict=True))
