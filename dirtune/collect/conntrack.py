"""/proc/net/stat/nf_conntrack: counters of connection tracking, summed over CPUs.

Format: net/netfilter/nf_conntrack_standalone.c, ct_cpu_seq_show(): a header of names, then one row
of hexadecimal numbers per possible CPU. `entries` is the same number in every row. Kernels differ
in the names of the columns, so values are matched by name. The file exists while nf_conntrack is
loaded, even if no connection is tracked.
"""

from collections.abc import Mapping

from dirtune.collect.files import hexadecimal
from dirtune.errors import ParseError
from dirtune.host import Host

SOURCE = "/proc/net/stat/nf_conntrack"
SOURCES = (SOURCE,)


def read_conntrack(host: Host) -> Mapping[str, int]:
    """Read the counters. Raises `SourceMissing` if nf_conntrack is not loaded."""
    return parse_stat_table(SOURCE, host.read(SOURCE))


def parse_stat_table(source: str, text: str) -> Mapping[str, int]:
    """Return the sum of each column over CPUs in the *text* of a file in /proc/net/stat.

    `entries` is not summed, because every CPU's row repeats the same number.
    """
    head, *rows = text.splitlines() or [""]
    names = head.split()
    cells = [row.split() for row in rows if row.strip()]
    if not names or not cells or any(len(row) != len(names) for row in cells):
        raise ParseError(source, "the rows do not have as many columns as the header")
    try:
        columns = [[hexadecimal(cell) for cell in column] for column in zip(*cells, strict=True)]
    except ValueError as error:
        raise ParseError(source, "a counter is not a hexadecimal number") from error
    sums = {name: sum(column) for name, column in zip(names, columns, strict=True)}
    return sums | ({"entries": columns[0][0]} if names[0] == "entries" else {})
