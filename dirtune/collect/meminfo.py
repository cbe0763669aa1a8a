"""/proc/meminfo: memory in bytes.

Format: fs/proc/meminfo.c. kB means 1024 bytes; rows without a unit (HugePages_Total) are numbers.
"""

from collections.abc import Mapping

from dirtune.collect.files import decimal
from dirtune.errors import ParseError
from dirtune.formats import parsing
from dirtune.host import Host

SOURCE = "/proc/meminfo"
SOURCES = (SOURCE,)


def read_meminfo(host: Host) -> Mapping[str, int]:
    """Return the value of each row by its name (`MemTotal`); memory is in bytes."""
    return parse_meminfo(host.read(SOURCE))


@parsing(SOURCE)
def parse_meminfo(text: str) -> Mapping[str, int]:
    """Parse the text of /proc/meminfo."""
    amounts = {}
    for row in text.splitlines():
        name, _, rest = row.partition(":")
        cells = rest.split(None, 2)
        if not cells:
            continue
        if not cells[0].isdecimal():
            raise ParseError(SOURCE, f"{row[:60]!r} does not consist of a name and an amount")
        amounts[name.strip()] = decimal(cells[0]) * (1024 if cells[1:] == ["kB"] else 1)
    if "MemTotal" not in amounts:
        raise ParseError(SOURCE, "the row MemTotal is missing")
    return amounts
