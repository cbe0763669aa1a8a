"""Compute the CPU time of each program and kernel thread between two readings of /proc. Pure.

A program that ended before the second reading is left out, because its CPU time is unknown.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from dirtune.analyse.cpu import USER_HZ
from dirtune.collect.processes import Process


class Program(NamedTuple):
    """All processes that have the same name."""

    name: str
    """The name in /proc/PID/stat: up to 15 characters, chosen by the process itself."""
    kernel: bool
    """Whether the processes are kernel threads."""
    percent: float
    """User and system time as per cent of one CPU: 200 means two CPUs."""


def by_program(
    before: Sequence[Process], after: Sequence[Process], seconds: float
) -> tuple[Program, ...]:
    """Return the programs that used CPU time between two readings, the busiest first.

    *seconds* is the time between the readings.
    """
    earlier = {(process.pid, process.name): process.ticks for process in before}
    ticks: Counter[tuple[str, bool]] = Counter()
    for process in after:
        then = earlier.get((process.pid, process.name), 0)
        # If a process has fewer ticks than before, the kernel reused its id for a new process,
        # whose ticks began at 0.
        used = process.ticks - then if process.ticks >= then else process.ticks
        ticks[process.name, process.kernel] += used
    share = 100 / USER_HZ / seconds
    return tuple(
        Program(name, kernel, share * total)
        for (name, kernel), total in ticks.most_common()
        if total
    )
