"""/proc/PID/comm of threaded interrupt handlers: `irq/10-sym53c8xx`.

kernel/irq/manage.c, setup_irq_thread(), names the threads; a secondary handler is `irq/10-s-name`.
Before Linux 5.17 a name is cut to 15 characters (TASK_COMM_LEN): `irq/10-ehci_hcd:usb2` is shown
as `irq/10-ehci_hcd`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from dirtune.errors import SourceMissing, SourceRefused
from dirtune.formats import parsing
from dirtune.host import Host

_PATTERN = "/proc/[0-9]*/comm"
SOURCES = (_PATTERN,)
_NAME = re.compile(r"irq/(?P<irq>\d+)-(?P<name>.+)")


@dataclass(frozen=True, slots=True)
class IrqThread:
    """One kernel thread that runs an interrupt handler."""

    pid: int
    irq: int
    name: str
    """The action's name; before Linux 5.17 its end may be cut off."""


def read_irq_threads(host: Host) -> tuple[IrqThread, ...]:
    """Read the threads. Raises `SourceMissing` if the record contains no processes."""
    paths = host.glob(_PATTERN)
    if not paths:
        raise SourceMissing("/proc/PID/comm: the record contains no processes")
    return tuple(_threads(host, paths))


@parsing("/proc/PID/comm")
def parse_thread(pid: int, comm: str) -> IrqThread | None:
    """Return the thread with the name *comm*; None if it is not an interrupt thread."""
    found = _NAME.fullmatch(comm.strip())
    return IrqThread(pid, int(found["irq"]), found["name"]) if found else None


def _threads(host: Host, paths: tuple[str, ...]) -> Iterator[IrqThread]:
    for path in paths:
        try:
            comm = host.read(path)
        except (SourceMissing, SourceRefused):  # the thread ended after it was listed
            continue
        thread = parse_thread(int(path.split("/")[2]), comm)
        if thread:
            yield thread
