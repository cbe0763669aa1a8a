"""Count the calls of each interrupt handler with tracefs triggers, on hosts without eBPF.

Source: hist triggers (Documentation/trace/histogram.rst) on `irq:irq_handler_entry` and
`irq:irq_handler_exit`, in a private instance, so that other tracing is not disturbed. Nothing is
written to the instance's ring buffer, although Linux 6.1 allocates 1.4 MB for it on each CPU. The
triggers need root, but no library, and they do not measure time.

If dirtune is killed, the kernel keeps the instance and continues to count. The name of an instance
contains the PID and the start time of its process, so the next run finds and removes the instances
of processes that have ended.
"""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from dirtune.analyse.doctor import tracefs_obstacles
from dirtune.analyse.handlers import HandlerCount, HandlerCounts
from dirtune.analyse.rates import line_counts
from dirtune.collect.facts import read_facts
from dirtune.collect.interrupts import SOURCE, parse_interrupts
from dirtune.errors import ApplyError, NotPossible, ParseError, SourceMissing, SourceRefused
from dirtune.formats import parsing
from dirtune.host import Host, WritableHost
from dirtune.probes import steady
from dirtune.signals import undisturbed

_ENTRY = "events/irq/irq_handler_entry"
_EXIT = "events/irq/irq_handler_exit"
# Rows of a trigger's table, allocated with the trigger; each handler of each line needs one row.
_ROWS = 8192
_NONE = "0"  # IRQ_NONE

_MINE = re.compile(r"dirtune-(?P<pid>\d+)-(?P<start>\d+)")
_ROW = re.compile(r"\{ irq:\s*(?P<irq>\d+), \w+:\s*(?P<key>.*?)\s*\} hitcount:\s*(?P<hits>\d+)\s*")
_DROPPED = re.compile(r"\s*Dropped:\s*(\d+)\s*")


@dataclass(frozen=True, slots=True)
class Reading:
    """The tables of the triggers and /proc/interrupts at one moment."""

    taken_s: float
    """The time of the reading, in seconds of the monotonic clock."""
    interrupts: str
    """The text of /proc/interrupts at this moment."""
    entries: str
    """The calls by line and handler, as the text of `hist`."""
    exits: str
    """The calls by line and return value, as the text of `hist`."""


@dataclass(frozen=True, slots=True)
class Hist:
    """The table of one trigger."""

    hits: dict[tuple[int, str], int]
    """The counts by line and handler, or by line and return value."""
    dropped: int
    """The number of events that were not counted, because the table had no room."""


@contextmanager
def opened(host: WritableHost | None = None) -> Iterator[Callable[[], Reading]]:
    """Start counting, yield a function that reads the counts, and stop counting at the end.

    Raises `NotPossible`, with the reason and the remedy, if this host cannot count.
    """
    host = host or WritableHost()
    facts = read_facts(host)
    obstacles = tracefs_obstacles(facts)
    if obstacles:
        raise NotPossible(f"tracefs: {obstacles[0].why}: {obstacles[0].remedy}")
    with counting(host, f"{facts.tracefs}/instances") as take:
        yield take


@contextmanager
def counting(host: WritableHost, folder: str) -> Iterator[Callable[[], Reading]]:
    """Count in a new instance in *folder*, and remove the instance at the end of the context."""
    remove_left_behind(host, folder)
    at = f"{folder}/dirtune-{host.link('/proc/self')}-{_start_time(host, 'self')}"
    try:
        _count(host, at)
        yield partial(_reading, host, at)
    finally:
        with undisturbed():
            if host.glob(at):
                host.remove_folder(at)


def decode(before: Reading, after: Reading) -> HandlerCounts:
    """Return the handlers' calls between two readings."""
    entries = _moved(parse_hist(before.entries), parse_hist(after.entries))
    exits = _moved(parse_hist(before.exits), parse_hist(after.exits))
    lines = {irq for irq, _ in entries.hits}
    seconds = after.taken_s - before.taken_s
    then, now = map(parse_interrupts, (before.interrupts, after.interrupts))
    return HandlerCounts(
        seconds=seconds,
        source="tracefs",
        handlers=tuple(HandlerCount(*key, entries.hits[key]) for key in sorted(entries.hits)),
        line_counts=line_counts(then, now, seconds),
        none={str(irq): exits.hits.get((irq, _NONE), 0) for irq in sorted(lines)},
        lost=entries.dropped + exits.dropped,
    )


@parsing("hist")
def parse_hist(text: str) -> Hist:
    """Parse a trigger's table that has two keys, the first of them `irq`."""
    hits: dict[tuple[int, str], int] = {}
    dropped = 0
    for line in text.splitlines():
        row, total = _ROW.fullmatch(line), _DROPPED.fullmatch(line)
        if row:
            hits[int(row["irq"]), row["key"]] = int(row["hits"])
        elif line.startswith("{"):
            raise ParseError("hist", f"{line[:60]!r} is not a row of handler counts")
        elif total:
            dropped = int(total[1])
    return Hist(hits, dropped)


def remove_left_behind(host: WritableHost, folder: str) -> None:
    """Remove the instances in *folder* whose processes have ended."""
    for path in host.glob(f"{folder}/dirtune-*"):
        found = _MINE.fullmatch(path.rpartition("/")[2])
        if found and _start_time(host, found["pid"]) != found["start"]:
            with suppress(ApplyError):  # another process reads it; the next run removes it
                host.remove_folder(path)


def _moved(before: Hist, after: Hist) -> Hist:
    moved = {key: hits - before.hits.get(key, 0) for key, hits in after.hits.items()}
    return Hist({k: n for k, n in moved.items() if n}, after.dropped - before.dropped)


def _count(host: WritableHost, at: str) -> None:
    try:
        host.make_folder(at)
        host.write(f"{at}/{_ENTRY}/trigger", f"hist:keys=irq,name:size={_ROWS}")
        host.write(f"{at}/{_EXIT}/trigger", f"hist:keys=irq,ret:size={_ROWS}")
    except ApplyError as error:
        raise NotPossible(f"tracefs: the kernel refused a hist trigger: {error}") from error


def _reading(host: Host, at: str) -> Reading:
    def tables() -> tuple[float, str, str]:
        taken_s = time.monotonic()
        entries, exits = (host.read(f"{at}/{event}/hist") for event in (_ENTRY, _EXIT))
        return taken_s, entries, exits

    interrupts, (taken_s, entries, exits) = steady.read(lambda: host.read(SOURCE), tables)
    return Reading(taken_s, interrupts, entries, exits)


def _start_time(host: Host, pid: str) -> str | None:
    """Return the start time of process *pid* in ticks since boot; None if *pid* does not exist."""
    try:
        # The name in parentheses may contain blanks; starttime is the 20th field after it.
        return host.read(f"/proc/{pid}/stat").rpartition(")")[2].split()[19]
    except (SourceMissing, SourceRefused):  # refused: the process ended during the read
        return None
