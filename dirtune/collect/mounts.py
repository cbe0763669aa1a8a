"""/proc/self/mountinfo and /proc/swaps: the block devices in use.

Format: fs/proc_namespace.c, show_mountinfo(), and mm/swapfile.c, swap_show(). A blank in a path is
written as octal 040.
"""

from dataclasses import dataclass

from dirtune.errors import ParseError
from dirtune.host import Host

SOURCE = "/proc/self/mountinfo"
SWAPS_SOURCE = "/proc/swaps"
SOURCES = (SOURCE, SWAPS_SOURCE)


@dataclass(frozen=True, slots=True)
class Mount:
    """One mounted file system."""

    dev: str
    """Device number, `8:1`; that of btrfs or a network file system belongs to no device."""
    target: str
    fstype: str
    source: str
    """Device (`/dev/sda1`) or another source."""


def read_mounts(host: Host) -> tuple[Mount, ...]:
    """Read the mounts of this mount namespace."""
    return parse_mounts(host.read(SOURCE))


def read_swaps(host: Host) -> tuple[str, ...]:
    """Read the devices and files that are used for swap."""
    return parse_swaps(host.read(SWAPS_SOURCE))


def parse_mounts(text: str) -> tuple[Mount, ...]:
    """Parse the text of mountinfo."""
    return tuple(_mount(number, row) for number, row in enumerate(text.splitlines(), 1))


def parse_swaps(text: str) -> tuple[str, ...]:
    """Parse the text of /proc/swaps."""
    return tuple(row.split()[0] for row in text.splitlines()[1:] if row.strip())


def _mount(number: int, row: str) -> Mount:
    # A dash ends the optional fields, whose number varies, so fields are counted from the dash.
    left, _, right = row.partition(" - ")
    before, after = left.split(), right.split()
    if len(before) < 6 or len(after) < 2:
        raise ParseError(SOURCE, f"line {number}: {row[:60]!r} does not describe a mount")
    return Mount(before[2], before[4], after[0], after[1])
