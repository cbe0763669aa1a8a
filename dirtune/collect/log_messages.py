"""The messages of the kernel log that checks read; the recorder keeps the lines of all of them.

A check reads the log only through a `Message`, so the recorder cannot drop a line that a check
would read. The texts are those of the kernel's sources and of the drivers.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogLine:
    """One message of the kernel log."""

    seconds: float | None
    """Seconds since boot; None if the time is printed in another form."""
    text: str


@dataclass(frozen=True, slots=True)
class Message:
    """A kind of kernel message."""

    words: str
    """The alternatives that such a line contains, separated by `|`, without regard to case."""

    def lines(self, log: Iterable[LogLine] | None) -> Iterator[LogLine]:
        """Yield the lines of *log* that are such messages."""
        words = re.compile(self.words, re.IGNORECASE)
        return (line for line in log or () if words.search(line.text))


INTERRUPTS = Message("nobody cared|disabling irq")
VECTORS = Message("msi|vector")
CLOCK = Message("tsc|clocksource")
LINK = Message(
    "link is|link up|link down|link becomes ready|link speed|smartspeed|downshift|watchdog"
)
ALLOCATION = Message("allocation failure|ip_vs_conn_new")
CONNTRACK_FULL = Message("(nf|ip)_conntrack: table full")
NEIGHBOURS = Message("neighbou?r table overflow")
MARTIAN = Message("martian source")
NO_DESTINATION = Message("no destination available")
SYN_FLOOD = Message("syn flooding")


def words() -> str:
    """Return the words of all messages as an extended regular expression, as grep(1) reads it."""
    return "|".join(m.words for m in globals().values() if isinstance(m, Message))
