"""/sys/kernel/irq/N: the interrupt table in small files of one value each, since Linux 4.9.

Files: kernel/irq/irqdesc.c. `actions` joins names by a comma without a blank, so a name that
contains a comma is read as two. `per_cpu_count` lists the possible CPUs and is cut off at a page
(4,096 bytes), which holds about 372 counts of ten digits; a list without a count for each CPU is
refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from dirtune.collect.files import all_whole, number_in, text_in
from dirtune.cpu_sets import parse_cpulist
from dirtune.errors import ParseError, SourceMissing
from dirtune.host import Host

ROOT = "/sys/kernel/irq"
_POSSIBLE = "/sys/devices/system/cpu/possible"
SOURCES: tuple[str, ...] = ()
"""Empty: a record keeps the single file /proc/interrupts instead of these thousands of files."""


@dataclass(frozen=True, slots=True)
class KernelIrq:
    """One interrupt that has a handler; a field is None if the kernel lacks its file."""

    irq: int
    counts: tuple[int, ...]
    """Interrupts since boot, one for each possible CPU."""
    chip: str | None
    hwirq: int | None
    type: str | None
    """edge or level."""
    actions: tuple[str, ...]


def read_kernel_irqs(host: Host) -> tuple[tuple[int, ...], tuple[KernelIrq, ...]]:
    """Return the possible CPUs and the interrupts that have a handler.

    Raises `SourceMissing` if the kernel has no /sys/kernel/irq.
    """
    numbers = sorted(int(path.split("/")[4]) for path in host.glob(f"{ROOT}/[0-9]*/actions"))
    if not numbers:
        raise SourceMissing(f"{ROOT} does not exist on this host")
    cpus = parse_cpulist(text_in(host, _POSSIBLE) or "0")
    return cpus, tuple(_used(host, numbers, len(cpus)))


def _used(host: Host, numbers: list[int], cpus: int) -> Iterator[KernelIrq]:
    for number in numbers:
        at = f"{ROOT}/{number}"
        actions = text_in(host, f"{at}/actions")
        if actions:
            yield KernelIrq(
                number,
                _counts(host, f"{at}/per_cpu_count", cpus),
                text_in(host, f"{at}/chip_name") or None,
                number_in(host, f"{at}/hwirq"),
                text_in(host, f"{at}/type") or None,
                tuple(actions.split(",")),
            )


def _counts(host: Host, path: str, cpus: int) -> tuple[int, ...]:
    cells = (text_in(host, path) or "").split(",")
    if len(cells) != cpus or not (all(cells) and all_whole(cells)):
        raise ParseError(path, f"the file does not have one count for each of {cpus} CPUs")
    return tuple(map(int, cells))
