"""/proc/PID/stat: processes and kernel threads, their CPU time and how they are scheduled.

Format: fs/proc/array.c, do_task_stat(). The name stands in parentheses and may hold blanks and
parentheses of its own, and is cut to 15 characters. Command lines are not read: they hold secrets.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from dirtune.collect.files import text_in
from dirtune.errors import ParseError, SourceMissing
from dirtune.formats import parsing
from dirtune.host import Host

_PATTERN = "/proc/[0-9]*/stat"
SOURCES = (_PATTERN,)
_KTHREADD = 2
_POLICIES = {0: "other", 1: "fifo", 2: "rr", 3: "batch", 5: "idle", 6: "deadline"}


@dataclass(frozen=True, slots=True)
class Process:
    """One process or kernel thread."""

    pid: int
    name: str
    kernel: bool
    """Whether it is a thread of the kernel."""
    ticks: int
    """User and system time in USER_HZ."""
    cpu: int | None
    """The CPU that it ran on last."""
    policy: str
    """other, fifo, rr, batch, idle, deadline, or a number unknown here."""
    priority: int
    """Real-time priority; 0 for the others."""


def read_processes(host: Host) -> tuple[Process, ...]:
    """Read every process; `SourceMissing` where the record has none."""
    paths = host.glob(_PATTERN)
    if not paths:
        raise SourceMissing("/proc/PID/stat: no processes in the record")
    return tuple(_read(host, paths))


@parsing("/proc/PID/stat")
def parse_process(text: str) -> Process:
    """Parse the text of /proc/PID/stat."""
    head, _, tail = text.rpartition(")")
    pid, _, name = head.partition(" (")
    cells = tail.split()
    if len(cells) < 39 or not pid.isdecimal():
        raise ParseError("/proc/PID/stat", f"{text[:60]!r} is no process")
    parent, policy = int(cells[1]), int(cells[38])
    return Process(
        int(pid),
        name,
        parent == _KTHREADD or int(pid) == _KTHREADD,
        int(cells[11]) + int(cells[12]),
        int(cells[36]),
        _POLICIES.get(policy, str(policy)),
        int(cells[37]),
    )


def _read(host: Host, paths: tuple[str, ...]) -> Iterator[Process]:
    for path in paths:
        text = text_in(host, path)
        if text:  # else it ended between the listing and the reading
            yield parse_process(text)
