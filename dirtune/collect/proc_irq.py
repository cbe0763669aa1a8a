"""/proc/irq/N: where each interrupt may and does go, and how often nobody claimed it.

Files: kernel/irq/proc.c. `effective_affinity_list` may be empty for an idle line. Since 6.12
smp_affinity is mode 0444 where the kernel manages the interrupt; before that a write fails.
`spurious` counts only interrupts that no handler of a line claimed: a shared line where any
handler does stays at 0.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from dirtune.collect.files import text_in
from dirtune.cpu_sets import parse_cpulist
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
    """One interrupt; None where the host does not say."""

    affinity: tuple[int, ...] | None
    """CPUs it may go to."""
    effective: tuple[int, ...] | None
    """CPUs it does go to; empty for a line that is not in use."""
    unhandled: int | None
    """Interrupts in a row, 100 ms apart at most, that no handler claimed."""
    managed: bool | None
    """Whether user space may not move it."""


def read_proc_irq(host: Host) -> Mapping[str, IrqState]:
    """Read every interrupt, by its number as text; `SourceMissing` where there is none."""
    names = dict.fromkeys(path.split("/")[3] for p in SOURCES for path in host.glob(p))
    if not names:
        raise SourceMissing(f"{_ROOT}: not on this host")
    return {name: _state(host, f"{_ROOT}/{name}") for name in sorted(names, key=int)}


@parsing("/proc/irq/N/spurious")
def parse_unhandled(text: str) -> int | None:
    """Return the unhandled interrupts in the text of `spurious`."""
    found = _UNHANDLED.search(text)
    return int(found[1]) if found else None


def _state(host: Host, at: str) -> IrqState:
    spurious = text_in(host, f"{at}/spurious")
    mode = host.mode(f"{at}/smp_affinity")
    return IrqState(
        _cpus(host, f"{at}/smp_affinity_list"),
        _cpus(host, f"{at}/effective_affinity_list"),
        None if spurious is None else parse_unhandled(spurious),
        None if mode is None else not mode & 0o200,
    )


def _cpus(host: Host, path: str) -> tuple[int, ...] | None:
    text = text_in(host, path)
    return None if text is None else parse_cpulist(text)
