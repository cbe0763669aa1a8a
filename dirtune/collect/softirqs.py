"""/proc/softirqs: how often each CPU ran each kind of softirq.

Format: fs/proc/softirqs.c. The header names all possible CPUs, not only the online ones; the
counts of an offline CPU keep their last values. Linux 4.5 renamed BLOCK_IOPOLL to IRQ_POLL.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dirtune.collect.files import all_whole
from dirtune.errors import ParseError
from dirtune.formats import parsing
from dirtune.host import Host

SOURCE = "/proc/softirqs"
SOURCES = (SOURCE,)


@dataclass(frozen=True, slots=True)
class Softirqs:
    """The softirq counters at one moment, 32 bits wide."""

    cpus: tuple[int, ...]
    counts: Mapping[str, tuple[int, ...]]
    """One count for each CPU, by vector (`NET_RX`)."""


def read_softirqs(host: Host) -> Softirqs:
    """Read the softirq counters."""
    return parse_softirqs(host.read(SOURCE))


@parsing(SOURCE)
def parse_softirqs(text: str) -> Softirqs:
    """Parse the text of /proc/softirqs."""
    head, *rows = text.splitlines() or [""]
    names = head.split()
    if not names or not all(n.startswith("CPU") and n[3:].isdecimal() for n in names):
        raise ParseError(SOURCE, "the header row with the CPUs is missing")
    cpus = tuple(int(name[3:]) for name in names)
    counts = {}
    for number, row in enumerate(rows, 2):
        vector, colon, rest = row.partition(":")
        cells = rest.split(None, len(cpus))
        if not row.strip():
            continue
        if not colon or len(cells) != len(cpus) or not all_whole(cells):
            why = f"line {number}: the row does not have one count for each of {len(cpus)} CPUs"
            raise ParseError(SOURCE, why)
        counts[vector.strip()] = tuple(map(int, cells))
    return Softirqs(cpus, counts)
