"""/proc/net/softnet_stat: packets each CPU took off its backlog and its devices' queues.

Format: net/core/net-procfs.c, softnet_seq_show(): one row per online CPU, hexadecimal, 32 bits.
9 columns up to 2.6.34, then 10 (received_rps), 11 from 3.11 (flow_limit_count), 13 from 5.10
(length of the backlog, the CPU's number), 15 later (input and process queue). With fewer than 13
columns the file does not say which CPU a row is of: it is the k-th online one.
"""

from dataclasses import dataclass

from dirtune.errors import ParseError
from dirtune.host import Host

SOURCE = "/proc/net/softnet_stat"
SOURCES = (SOURCE,)

_COLUMNS = 64
"""More than any kernel prints."""


@dataclass(frozen=True, slots=True)
class SoftnetRow:
    """One CPU; None where this kernel has no such column."""

    cpu: int | None
    processed: int
    """Packets, counted again on the CPU that RPS steered them to."""
    dropped: int
    """Packets the per-CPU backlog had no room for (RPS and devices without NAPI only)."""
    time_squeeze: int
    """Rounds of NET_RX that ended with work left."""
    received_rps: int | None
    flow_limit: int | None
    """Packets of big flows dropped early; part of `dropped`."""


def read_softnet(host: Host) -> tuple[SoftnetRow, ...]:
    """Read the rows."""
    return parse_softnet(host.read(SOURCE))


def parse_softnet(text: str) -> tuple[SoftnetRow, ...]:
    """Parse the text of softnet_stat."""
    rows = [row.split(None, _COLUMNS) for row in text.splitlines() if row.strip()]
    if not rows:
        raise ParseError(SOURCE, "it has no row")
    return tuple(_row(number, cells) for number, cells in enumerate(rows, 1))


def _row(number: int, cells: list[str]) -> SoftnetRow:
    try:
        values = [int(cell, 16) for cell in cells]
    except ValueError as error:
        raise ParseError(
            SOURCE, f"line {number}: it is not hexadecimal: {' '.join(cells)[:60]!r}"
        ) from error
    if len(values) < 9:
        raise ParseError(SOURCE, f"line {number}: {len(values)} columns, 9 or more are known")
    return SoftnetRow(
        values[12] if len(values) >= 13 else None,
        values[0],
        values[1],
        values[2],
        values[9] if len(values) >= 10 else None,
        values[10] if len(values) >= 11 else None,
    )
