"""Count the calls of interrupt handlers without eBPF: with tracefs, or from /proc."""

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
    """A source of call counts, which is read at the start and at the end of a measurement."""

    words: str
    """A clause that names the source for messages, such as `calls are counted by tracefs`."""
    take: Callable[[], Any]
    decode: Callable[[Any, Any], HandlerCounts]
    first: Any = None

    def begin(self) -> None:
        """Read the counts at the start of the measurement."""
        self.first = self.take()

    def finish(self) -> HandlerCounts:
        """Read the counts again, and return the calls since `begin`."""
        return self.decode(self.first, self.take())


def best(host: Host, stack: ExitStack) -> Counting | None:
    """Return this host's best source of call counts, or None; *stack* closes the source."""
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
