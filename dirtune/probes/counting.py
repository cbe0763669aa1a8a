"""Calls of interrupt handlers without eBPF, counted by tracefs or inferred from /proc."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from dirtune.analyse.handlers import HandlerCounts
from dirtune.errors import NotPossible, SourceMissing, SourceRefused
from dirtune.host import Host
from dirtune.probes import proc, tracefs


@dataclass
class Counting:
    """One source of the numbers of calls, which is read at both ends of a window."""

    words: str
    """A clause that names the source, such as `calls are counted by tracefs`."""
    take: Callable[[], Any]
    decode: Callable[[Any, Any], HandlerCounts]
    first: Any = None

    def begin(self) -> None:
        """Open the window."""
        self.first = self.take()

    def finish(self) -> HandlerCounts:
        """Close the window and return the calls in it."""
        return self.decode(self.first, self.take())


def best(host: Host, stack: ExitStack) -> Counting | None:
    """Return this host's best source, which *stack* closes; None if the host has no source."""
    try:
        take = stack.enter_context(tracefs.opened())
        return Counting("calls are counted by tracefs", take, tracefs.decode)
    except NotPossible:
        pass
    try:
        proc.take(host)
    except (SourceMissing, SourceRefused):
        return None
    words = "calls are inferred from /proc/interrupts"
    return Counting(words, lambda: proc.take(host), proc.decode)
