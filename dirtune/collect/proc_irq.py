"""/proc/irq/N: the CPUs of each interrupt, and how often no handler claimed it.

Files: kernel/irq/proc.c. `effective_affinity_list` may be empty if an interrupt is not in use. If
the kernel manages the affinity of an interrupt, smp_affinity has mode 0444 since Linux 6.12; older
kernels show the usual mode 0644, but refuse a write. `spurious` counts interrupts that no handler
of the interrupt line claimed. On a shared line, one handler that claims every interrupt keeps the
count at 0.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from dirtune.collect.files import cpulist_in, decimal, text_in
from dirtune.errors import SourceMissing
from dirtune.formats import parsing
from dirtune.host import Host

_ROOT = "/proc/irq"
_FILES = ("smp_affinity", "smp_affinity_list", "effective_affinity_list", "spurious")
SOURCES = tuple(f"{_ROOT}/[0-9]*/{name}" for name in _FILES)
MODES = (f"{_ROOT}/[0-9]*/smp_affinity",)
"""Files whose permission bits are read."""

_UNHANDLED = re.compile(r"unhandled (\d+)")


@dataclass(frozen=True, slots=True)
class IrqState:
    """One interrupt; a field is None if it is unknown."""

    affinity: tuple[int, ...] | None
    """CPUs that may take the interrupt."""
    effective: tuple[int, ...] | None
    """CPUs that do take the interrupt; empty if the line is not in use."""
    unhandled: int | None
    """Successive interrupts, at most 100 ms apart, that no handler claimed."""
    managed: bool | None
    """Whether the kernel manages the interrupt, so that user space cannot move it."""


def read_proc_irq(host: Host) -> Mapping[str, IrqState]:
    """Read every interrupt, by its number as text. Raises `SourceMissing` if there is none."""
    names = dict.fromkeys(path.split("/")[3] for p in SOURCES for path in host.glob(p))
    if not names:
        raise SourceMissing(f"{_ROOT} does not exist on this host")
    return {name: _state(host, f"{_ROOT}/{name}") for name in sorted(names, key=int)}


@parsing("/proc/irq/N/spurious")
def parse_unhandled(text: str) -> int | None:
    """Return the number of unhandled interrupts in the text of `spurious`."""
    found = _UNHANDLED.search(text)
    return decimal(found[1]) if found else None


def _state(host: Host, at: str) -> IrqState:
    spurious = text_in(host, f"{at}/spurious")
    mode = host.mode(f"{at}/smp_affinity")
    return IrqState(
        cpulist_in(host, f"{at}/smp_affinity_list"),
        cpulist_in(host, f"{at}/effective_affinity_list"),
        None if spurious is None else parse_unhandled(spurious),
        None if mode is None else not mode & 0o200,
    )
