"""/proc/net/dev: counters of network interfaces, for records without sysfs.

Format: net/core/net-procfs.c, dev_seq_printf_stats(): two header rows, then `name: numbers`. On
old kernels the first number may touch the colon. Eight columns count receiving, eight sending.
"""

from collections.abc import Mapping

from dirtune.collect.files import decimal
from dirtune.errors import ParseError
from dirtune.formats import parsing
from dirtune.host import Host

SOURCE = "/proc/net/dev"
SOURCES = (SOURCE,)
_RECEIVED = {"bytes": 0, "packets": 1, "errors": 2, "dropped": 3, "fifo_errors": 4}
_SENT = {"bytes": 8, "packets": 9, "errors": 10, "dropped": 11}
_COLUMNS = 16


def read_net_dev(host: Host) -> Mapping[str, Mapping[str, int]]:
    """Read the counters of every interface, named as in sysfs (`rx_packets`)."""
    return parse_net_dev(host.read(SOURCE))


@parsing(SOURCE)
def parse_net_dev(text: str) -> Mapping[str, Mapping[str, int]]:
    """Parse the text of /proc/net/dev."""
    rows = text.split("\n")  # splitlines() also splits at characters that a name may contain
    if len(rows) < 2 or not rows[1].strip().startswith("face"):
        raise ParseError(SOURCE, "the second row does not begin with 'face'")
    return {name: counters for name, counters in map(_row, enumerate(rows[2:], 3)) if name}


def _row(numbered: tuple[int, str]) -> tuple[str, Mapping[str, int]]:
    number, row = numbered
    # The name of an alias contains a colon: eth0:1.
    name, _, rest = row.rpartition(":")
    cells = rest.split()
    if not row.strip():
        return "", {}
    if len(cells) < _COLUMNS or not "".join(cells).isdecimal():
        raise ParseError(SOURCE, f"line {number}: {row[:40]!r} does not have {_COLUMNS} numbers")
    return name.strip(" "), {
        **{f"rx_{column}": decimal(cells[at]) for column, at in _RECEIVED.items()},
        **{f"tx_{column}": decimal(cells[at]) for column, at in _SENT.items()},
    }
