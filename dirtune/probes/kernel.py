"""Test whether this kernel can attach a probe, without loading anything.

Sources: tracefs `events/GROUP/EVENT/format`, /proc/kallsyms, and the kprobe event source in
/sys/bus/event_source (`perf_kprobe`, CONFIG_KPROBE_EVENTS).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from dirtune.collect.kallsyms import Symbols, read_kallsyms
from dirtune.errors import SourceMissing, SourceRefused
from dirtune.host import Host, literal
from dirtune.probes.probe import Point, Probe, Way

_TRACEFS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
BTF = "/sys/kernel/btf"
"""The folder of the kernel's type information: of `vmlinux` and of each module."""
_KPROBES = "/sys/bus/event_source/devices/kprobe/type"


@dataclass(frozen=True)
class Kernel:
    """The kernel of *host*. Each of its features is tested on first use."""

    host: Host

    @cached_property
    def symbols(self) -> Symbols:
        """The kernel's functions and variables; empty if the kernel hides them."""
        try:
            return read_kallsyms(self.host)
        except (SourceMissing, SourceRefused):
            return Symbols((), ())

    @cached_property
    def kprobes(self) -> bool:
        """Whether the kernel has kprobes."""
        return self._text(_KPROBES) is not None

    def lacks(self, point: Point) -> str | None:
        """Return why this kernel cannot attach a program to *point*; None if the kernel can."""
        match point.kind:
            case "tracepoint":
                return self._lacks_event(point)
            case "kprobe" | "kretprobe":
                if not self.kprobes:
                    return "this kernel was built without kprobes (CONFIG_KPROBE_EVENTS)"
                return self._lacks_function(point.target)
            case "fentry":
                module, _, function = point.target.partition(":")
                types = module if self.symbols.in_module(function) else "vmlinux"
                if not self.host.glob(literal(f"{BTF}/{types}")):
                    return f"this kernel has no type information in {BTF}/{types}"
                return self._lacks_function(function)
        return None

    def way(self, probe: Probe[object], kinds: frozenset[str]) -> Way | str:
        """Return the first of `ways`, or the reasons why there is none as text."""
        first = next(self.ways(probe, kinds), None)
        if first is not None:
            return first
        return "; ".join(dict.fromkeys(filter(None, map(self._lacks_one, _of(probe, kinds)))))

    def ways(self, probe: Probe[object], kinds: frozenset[str]) -> Iterator[Way]:
        """Yield the ways in which this kernel can attach *probe* to points of these *kinds*.

        A way is tested when it is asked for, because a kprobe needs all symbols of the kernel.
        """
        return (way for way in _of(probe, kinds) if self._lacks_one(way) is None)

    def _lacks_one(self, way: Way) -> str | None:
        return next(filter(None, map(self.lacks, way.points)), None)

    def _lacks_event(self, point: Point) -> str | None:
        mounted = [f for f in _TRACEFS if self.host.glob(f"{f}/events/irq")]
        if not mounted:
            return None  # unknown without tracefs; attaching will show it
        path = f"{mounted[0]}/events/{point.target.replace(':', '/')}/format"
        text = self._text(path)
        if text is None:
            return f"this kernel lacks the tracepoint {point.target}"
        if point.field and f" {point.field};" not in text:
            return f"this kernel's tracepoint {point.target} lacks the field {point.field}"
        return None

    def _lacks_function(self, name: str) -> str | None:
        if name in self.symbols.known:
            return None
        return (
            f"this kernel lacks the function {name}, or the kernel module that contains the "
            "function is not loaded"
        )

    def _text(self, path: str) -> str | None:
        try:
            return self.host.read(path)
        except (SourceMissing, SourceRefused):
            return None


def _of(probe: Probe[object], kinds: frozenset[str]) -> Iterator[Way]:
    """Yield the ways of *probe* whose points are all of these *kinds*."""
    return (way for way in probe.ways if kinds.issuperset(point.kind for point in way.points))
