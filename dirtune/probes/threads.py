"""Read wake-ups and CPU time of interrupt handlers that run in threads.

Source: `voluntary_ctxt_switches` in /proc/PID/status and the first number of /proc/PID/schedstat
(fs/proc/base.c, proc_pid_schedstat()) of each `irq/N-name` thread. With `threadirqs` and on
PREEMPT_RT, every handler of a line only wakes its thread, so the threads show the cost of the
line. The kernel counts how often a thread goes to sleep, and dirtune takes this as its number of
wake-ups. So several wake-ups before the thread sleeps are one, and on PREEMPT_RT each wait for a
lock is one too.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from dirtune.analyse.probed import IrqThreadTime
from dirtune.collect.files import text_in
from dirtune.collect.irq_threads import IrqThread, read_irq_threads
from dirtune.formats import parsing
from dirtune.host import Host

_SWITCHES = re.compile(r"^voluntary_ctxt_switches:\s*(\d+)$", re.MULTILINE)
_NOT_KEPT = ("0", "0", "0")  # schedstat of a kernel without these statistics


@dataclass(frozen=True, slots=True)
class ThreadReading:
    """The statistics of one thread at one moment."""

    thread: IrqThread
    status: str
    schedstat: str


def take(host: Host) -> tuple[ThreadReading, ...]:
    """Read the statistics of every interrupt handler's thread."""
    found = (
        (each, text_in(host, f"/proc/{each.pid}/status"), f"/proc/{each.pid}/schedstat")
        for each in read_irq_threads(host)
    )
    return tuple(
        ThreadReading(each, status, text_in(host, path) or "")
        for each, status, path in found
        if status
    )


def decode(
    before: Iterable[ThreadReading], after: Iterable[ThreadReading]
) -> tuple[IrqThreadTime, ...]:
    """Return wake-ups and CPU time of each thread in both readings, sorted by line and name."""
    then = {each.thread: each for each in before}
    rows = (_moved(then[each.thread], each) for each in after if each.thread in then)
    return tuple(sorted((row for row in rows if row), key=lambda row: (row.irq, row.name)))


@parsing("/proc/PID/status")
def parse_switches(text: str) -> int | None:
    """Return the number of voluntary context switches in the text of /proc/PID/status."""
    found = _SWITCHES.search(text)
    return int(found[1]) if found else None


@parsing("/proc/PID/schedstat")
def parse_cpu_ns(text: str) -> int | None:
    """Return the CPU time in nanoseconds from the text of /proc/PID/schedstat.

    Return None if the text has another format, or if all its numbers are 0: a kernel without these
    statistics prints zeros.
    """
    cells = tuple(text.split())
    return int(cells[0]) if len(cells) == 3 and cells != _NOT_KEPT else None


def _moved(then: ThreadReading, now: ThreadReading) -> IrqThreadTime | None:
    switches = [parse_switches(each.status) for each in (then, now)]
    spent = [parse_cpu_ns(each.schedstat) for each in (then, now)]
    if switches[0] is None or switches[1] is None:
        return None
    known = None if spent[0] is None or spent[1] is None else spent[1] - spent[0]
    return IrqThreadTime(now.thread.irq, now.thread.name, switches[1] - switches[0], known)
