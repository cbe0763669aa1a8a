"""/proc/net/softnet_stat: packets that each CPU took from its backlog and its devices' queues.

Format: net/core/net-procfs.c, softnet_seq_show(): one row of hexadecimal 32-bit numbers per online
CPU. Linux has 9 columns up to 2.6.34, then 10 (received_rps), 11 from 3.11 (flow_limit_count), 13
from 5.10 (length of the backlog, number of the CPU), and 15 later (input and process queue). With
fewer than 13 columns the file does not number the CPUs: the k-th row is the k-th online CPU.
"""

from dataclasses import dataclass

from dirtune.collect.files import hexadecimal
from dirtune.errors import ParseError
from dirtune.host import Host

SOURCE = "/proc/net/softnet_stat"
SOURCES = (SOURCE,)

_COLUMNS = 64
"""The largest number of columns that is read; no kernel prints as many."""


@dataclass(frozen=True, slots=True)
class SoftnetRow:
    """Counters of one CPU; a field is None if this kernel lacks the column."""

    cpu: int | None
    processed: int
    """Packets processed; a packet that RPS steers to another CPU is counted on both CPUs."""
    dropped: int
    """Packets dropped because the CPU's backlog was full (only RPS and devices without NAPI)."""
    time_squeeze: int
    """Runs of NET_RX that ended with packets left."""
    received_rps: int | None
    flow_limit: int | None
    """Packets of large flows that were dropped early; also counted in `dropped`."""


def read_softnet(host: Host) -> tuple[SoftnetRow, ...]:
    """Read the counters of every online CPU."""
    return parse_softnet(host.read(SOURCE))


def parse_softnet(text: str) -> tuple[SoftnetRow, ...]:
    """Parse the text of softnet_stat."""
    rows = [row.split(None, _COLUMNS) for row in text.splitlines() if row.strip()]
    if not rows:
        raise ParseError(SOURCE, "the file is empty")
    return tuple(_row(number, cells) for number, cells in enumerate(rows, 1))


def _row(number: int, cells: list[str]) -> SoftnetRow:
    try:
        values = [hexadecimal(cell) for cell in cells]
    except ValueError as error:
        raise ParseError(
            SOURCE,
            f"line {number}: a counter is not a hexadecimal number: {' '.join(cells)[:60]!r}",
        ) from error
    if len(values) < 9:
        raise ParseError(
            SOURCE, f"line {number}: the row has {len(values)} columns instead of 9 or more"
        )
    return SoftnetRow(
        values[12] if len(values) >= 13 else None,
        values[0],
        values[1],
        values[2],
        values[9] if len(values) >= 10 else None,
        values[10] if len(values) >= 11 else None,
    )
