"""/proc/net/ip_vs_status: how full the buckets of the IPVS connection table are.

Format: net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_status_show(), of the kernels whose table resizes
itself. Only root may read the file. Reading it walks through the whole table, so it is read once.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from dirtune.errors import ParseError
from dirtune.formats import parsing
from dirtune.host import Host

SOURCE = "/proc/net/ip_vs_status"
SOURCES = (SOURCE,)
LONGEST = 7
"""The kernel counts all chains of this length or more together."""
_NUMBER = re.compile(r"(?P<name>[A-Za-z][\w -]{0,40}):\t(?P<number>\d{1,12})(?:$| )")
_LENGTH = re.compile(r"Conn buckets len-(\d)")


@dataclass(frozen=True, slots=True)
class ConnectionTable:
    """The buckets of the connection table of this network namespace."""

    connections: int
    buckets: int
    """The present number of buckets; 0 without a table, before the first service."""
    lengths: Mapping[int, int]
    """Buckets in use by the length of their chains; the last length means `LONGEST` or more."""

    @property
    def long_percent(self) -> float | None:
        """Percentage of the buckets in use whose chains have `LONGEST` entries or more."""
        used = sum(self.lengths.values())
        return 100 * self.lengths.get(LONGEST, 0) / used if used else None


def read_ip_vs_status(host: Host) -> ConnectionTable:
    """Read the file. Raises `SourceMissing` if the kernel does not have it."""
    return parse_ip_vs_status(host.read(SOURCE))


@parsing(SOURCE)
def parse_ip_vs_status(text: str) -> ConnectionTable:
    """Parse the text of /proc/net/ip_vs_status."""
    rows = (_NUMBER.match(row) for row in text.splitlines())
    numbers = {row["name"]: int(row["number"]) for row in rows if row}
    if not {"Conns", "Conn buckets"} <= numbers.keys():
        raise ParseError(SOURCE, "the rows 'Conns' and 'Conn buckets' are missing")
    lengths = ((_LENGTH.fullmatch(name), number) for name, number in numbers.items())
    return ConnectionTable(
        numbers["Conns"],
        numbers["Conn buckets"],
        {int(length[1]): number for length, number in lengths if length},
    )
