"""/proc/PID/stat: processes and kernel threads with their CPU time and scheduling policy.

Format: fs/proc/array.c, do_task_stat(). The name is cut to 15 characters and enclosed in
parentheses; it may itself contain blanks and parentheses. Command lines are not read, because they
may contain secrets.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from dirtune.collect.files import decimal, text_in
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
    """Whether the process is a kernel thread."""
    ticks: int
    """User and system time in USER_HZ."""
    cpu: int | None
    """The CPU on which the process last ran."""
    policy: str
    """other, fifo, rr, batch, idle, deadline, or the number of a policy that has no name here."""
    priority: int
    """Real-time priority; 0 without a real-time policy."""


def read_processes(host: Host) -> tuple[Process, ...]:
    """Read every process. Raises `SourceMissing` if the record contains none."""
    paths = host.glob(_PATTERN)
    if not paths:
        raise SourceMissing("/proc/PID/stat: the record contains no processes")
    return tuple(_read(host, paths))


@parsing("/proc/PID/stat")
def parse_process(text: str) -> Process:
    """Parse the text of /proc/PID/stat."""
    head, _, tail = text.rpartition(")")
    pid, _, name = head.partition(" (")
    cells = tail.split()
    if len(cells) < 39 or not pid.isdecimal():
        raise ParseError("/proc/PID/stat", f"{text[:60]!r} does not describe a process")
    parent, policy = decimal(cells[1]), decimal(cells[38])
    return Process(
        decimal(pid),
        name,
        parent == _KTHREADD or decimal(pid) == _KTHREADD,
        decimal(cells[11]) + decimal(cells[12]),
        decimal(cells[36]),
        _POLICIES.get(policy, str(policy)),
        decimal(cells[37]),
    )


def _read(host: Host, paths: tuple[str, ...]) -> Iterator[Process]:
    for path in paths:
        text = text_in(host, path)
        if text:  # empty if the process ended after it was listed
            yield parse_process(text)
