"""/proc/net/stat/nf_conntrack: what became of flows, summed over CPUs.

Format: net/netfilter/nf_conntrack_standalone.c, ct_cpu_seq_show(): a header of names, one row per
possible CPU, hexadecimal. `entries` is the same number in every row. Columns change their names
between kernels: zip by name. The file exists while nf_conntrack is loaded, which does not mean
that anything is tracked.
"""

from collections.abc import Mapping

from dirtune.errors import ParseError
from dirtune.host import Host

SOURCE = "/proc/net/stat/nf_conntrack"
SOURCES = (SOURCE,)


def read_conntrack(host: Host) -> Mapping[str, int]:
    """Read the counters; `SourceMissing` while nf_conntrack is not loaded."""
    return parse_stat_table(SOURCE, host.read(SOURCE))


def parse_stat_table(source: str, text: str) -> Mapping[str, int]:
    """Return each column's sum over CPUs, `entries` once, of a file in /proc/net/stat."""
    head, *rows = text.splitlines() or [""]
    names = head.split()
    cells = [row.split() for row in rows if row.strip()]
    if not names or not cells or any(len(row) != len(names) for row in cells):
        raise ParseError(source, "it is not a header and rows of as many columns")
    try:
        columns = [[int(cell, 16) for cell in column] for column in zip(*cells, strict=True)]
    except ValueError as error:
        raise ParseError(source, "a column is not hexadecimal") from error
    sums = {name: sum(column) for name, column in zip(names, columns, strict=True)}
    return sums | ({"entries": columns[0][0]} if names[0] == "entries" else {})
