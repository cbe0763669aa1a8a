"""What a probe is: a program in C, where it is attached, how its maps are read and what they say.

A probe is the constant `PROBE` of a module whose C lies beside it: `irq.py` and `irq.bpf.c`.
"""

from collections.abc import Callable, Mapping
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
    """Where one function of the C is attached."""

    kind: str
    """tracepoint (raw), kprobe, kretprobe, fentry or clock."""
    target: str
    """`group:event` of a tracepoint, a kernel function, or a frequency in Hz."""
    function: str
    """Its name in C."""
    field: str = ""
    """A field that the tracepoint must have: older kernels hand over less."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way of attaching a probe; the first one that this kernel has is taken."""

    what: str
    """In words: `raw tracepoints`."""
    points: tuple[Point, ...]
    macros: tuple[str, ...] = ()
    """Defined for the compiler."""


@dataclass(frozen=True, slots=True)
class Moment(Generic[R]):
    """One reading of a probe's maps."""

    taken_s: float
    """Monotonic clock."""
    data: R


@dataclass(frozen=True, slots=True)
class Context:
    """What decoding may need beside the maps."""

    cost: ProbeCost
    load_seconds: float
    symbols: Callable[[], Symbols]
    """Reads them when asked: it is a hundred thousand rows."""


@dataclass(frozen=True, slots=True)
class Probe(Generic[R]):
    """One probe."""

    name: str
    window: str
    """Where its window stands in `Probed`."""
    ways: tuple[Way, ...]
    read: Callable[[Bpf, Host], R]
    """Copies its maps; whatever is expensive is left to `decode`."""
    decode: Callable[[Moment[R], Moment[R], Context], object]
    """Pure: what happened between two readings."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Bounds of its maps, by macro."""
    members: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Macros that stand for the offset of a kernel structure's member."""
