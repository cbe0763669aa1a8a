"""/proc/stat: how each CPU spent its time since boot, and the number of interrupts.

Format: fs/proc/stat.c, show_stat(): one row per online CPU in USER_HZ (1/100 s). Newer kernels
have more columns: iowait, irq and softirq since 2.6, steal since 2.6.11, guest since 2.6.24,
guest_nice since 2.6.33. Without CONFIG_IRQ_TIME_ACCOUNTING, irq and softirq are sampled at the
timer tick.
"""

from dataclasses import dataclass

from dirtune.collect.files import all_whole, decimal
from dirtune.errors import ParseError
from dirtune.formats import parsing
from dirtune.host import Host

SOURCE = "/proc/stat"
SOURCES = (SOURCE,)

_COLUMNS = 10
"""Number of columns that are read; a newer kernel may add columns at the end."""


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Times of one CPU or of all CPUs in USER_HZ; None for columns that this kernel lacks."""

    cpu: int | None
    """Number of the CPU; None for the sum over all CPUs."""
    user: int
    nice: int
    system: int
    idle: int
    iowait: int | None = None
    irq: int | None = None
    softirq: int | None = None
    steal: int | None = None
    guest: int | None = None
    """Time of guests, which `user` also contains."""
    guest_nice: int | None = None
    """Time of niced guests, which `nice` also contains."""

    @property
    def total(self) -> int:
        """The sum of all columns; time of guests is not counted twice."""
        waited = (self.iowait, self.irq, self.softirq, self.steal)
        return self.user + self.nice + self.system + self.idle + sum(t or 0 for t in waited)


@dataclass(frozen=True, slots=True)
class Stat:
    """The times of the CPUs and the number of interrupts at one moment."""

    total: CpuTimes
    cpus: tuple[CpuTimes, ...]
    """Times of the online CPUs in the order of the file."""
    interrupts: int | None
    """Interrupts of all kinds since boot; None if the `intr` row is missing."""


def read_stat(host: Host) -> Stat:
    """Read the times of the CPUs and the number of interrupts."""
    return parse_stat(host.read(SOURCE))


@parsing(SOURCE)
def parse_stat(text: str) -> Stat:
    """Parse the text of /proc/stat."""
    rows = [row for row in text.splitlines() if row]
    times = [_times(row) for row in rows if row.startswith("cpu")]
    if not times or times[0].cpu is not None:
        raise ParseError(SOURCE, "the row with the sum over all CPUs is missing")
    return Stat(times[0], tuple(times[1:]), _interrupts(rows))


def _times(row: str) -> CpuTimes:
    name, *cells = row.split(None, _COLUMNS + 1)[: _COLUMNS + 1]
    digits = [name[3:], *cells]
    if len(cells) < 4 or not all_whole(digits):
        raise ParseError(SOURCE, f"a row does not have four or more numbers: {row[:60]!r}")
    return CpuTimes(int(name[3:]) if name[3:] else None, *map(int, cells))


def _interrupts(rows: list[str]) -> int | None:
    row = next((row for row in rows if row.startswith("intr ")), None)
    if row is None:
        return None
    total = row[5:].split(None, 1)[:1]
    if not total or not total[0].isdecimal():
        raise ParseError(SOURCE, "the intr row does not begin with a total")
    return decimal(total[0])
