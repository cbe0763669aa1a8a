"""The interrupt table as text, Markdown, or the JSON of `dirtune/irqs/1`."""

from collections.abc import Iterator

import click
import msgspec

from dirtune.analyse.handlers import HandlerCalls
from dirtune.analyse.lines import nic_line, sharers
from dirtune.analyse.rates import line_delta
from dirtune.collect.interrupts import Interrupts, Line
from dirtune.escape import one_line
from dirtune.render import cells
from dirtune.render.cells import Marked
from dirtune.render.json_documents import IrqsDocument, LineDocument
from dirtune.snapshot import Snapshot

FIELDS = ("interrupts", "pci", "interfaces")
"""Of a snapshot: all that the table shows."""
_NIC_SHARED = "NIC shared"
_ALIGN = ("left", "right", "right", "left", "left")


def document(snapshot: Snapshot, table: Interrupts) -> IrqsDocument:
    """Return the table in the schema `dirtune/irqs/1`; `handlers` is there when probed."""
    found: IrqsDocument = {
        "schema": "dirtune/irqs/1",
        "cpus": list(table.cpus),
        "lines": [_line(snapshot, table, line) for line in table.lines],
    }
    if snapshot.handlers is not None:
        found["handlers"] = msgspec.to_builtins(snapshot.handlers)
    if snapshot.handler_counts is not None:
        found["handler_counts"] = msgspec.to_builtins(snapshot.handler_counts)
    return found


def text(snapshot: Snapshot, table: Interrupts, *, verbose: bool = False) -> str:
    """Return one row per line, shared ones marked, with the handlers' cost below when probed.

    Between two samples a rate that cannot be known is `-`.
    """
    rows = ((_red(mark), *rest) for mark, *rest in _rows(snapshot, table, verbose=verbose))
    shown = cells.table(rows, _header(snapshot), "plain", _ALIGN)
    return f"{shown}\n\n{_summary(snapshot, table)}{_unread(table)}"


def markdown(snapshot: Snapshot, table: Interrupts, *, verbose: bool = False) -> str:
    """Return the same as a Markdown table."""
    rows = _rows(snapshot, table, verbose=verbose)
    return cells.table(rows, _header(snapshot), "github", _ALIGN)


def _line(snapshot: Snapshot, table: Interrupts, line: Line) -> LineDocument:
    rate = _rate(snapshot, table, line)
    return {
        "irq": line.irq,
        "chip": line.chip,
        "actions": list(line.actions),
        "counts": list(line.counts),
        "total": line.total,
        "shared": line.shared,
        "nic": _nic(snapshot, line),
        "per_second": None if rate is None else round(rate, 2),
        "text": line.text,
    }


def _header(snapshot: Snapshot) -> tuple[str, ...]:
    rate = "per second" if snapshot.seconds else "since boot"
    return ("", "irq", rate, "chip", "actions")


def _rows(snapshot: Snapshot, table: Interrupts, *, verbose: bool) -> Iterator[tuple[str, ...]]:
    for line in table.lines if verbose else table.numbered:
        rate = _rate(snapshot, table, line)
        count = f"{line.total:,}" if not snapshot.seconds else _per_second(rate)
        actions = ", ".join(line.actions) if line.numbered else line.text
        yield (_mark(snapshot, line), line.irq, count, line.chip or "", actions)
        for said in _handlers(snapshot, line):
            yield ("", "", "", "", said)


def _per_second(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:,.1f}"


def _mark(snapshot: Snapshot, line: Line) -> str:
    if line.shared and _nic(snapshot, line):
        return _NIC_SHARED
    return "cut off" if line.cut else "shared" if line.shared else ""


def _red(mark: str) -> str:
    return Marked(click.style(mark, fg="red", bold=True)) if mark == _NIC_SHARED else mark


def _handlers(snapshot: Snapshot, line: Line) -> Iterator[str]:
    timed = snapshot.handlers.handlers if snapshot.handlers else ()
    yield from (_cost(each) for each in timed if str(each.irq) == line.irq)
    counts = snapshot.handler_counts
    for each in counts.handlers if counts else ():
        if str(each.irq) == line.irq:
            yield f"  {each.handler}: {each.calls:,} calls"
    if counts and counts.none.get(line.irq):
        yield f"  {counts.none[line.irq]:,} calls of this line were for nothing"


def _cost(handler: HandlerCalls) -> str:
    each = handler.total_ns / handler.calls / 1000 if handler.calls else 0.0
    return (
        f"  {handler.handler}: {handler.calls:,} calls, {handler.none:,} for nothing, "
        f"{each:.1f} us each"
    )


def _summary(snapshot: Snapshot, table: Interrupts) -> str:
    shared = [line for line in table.numbered if line.shared]
    cards = [line for line in shared if _nic(snapshot, line)]
    return (
        f"{len(table.numbered)} lines on {len(table.cpus)} CPUs, {len(shared)} shared, "
        f"{len(cards)} of them with a network card"
    )


def _unread(table: Interrupts) -> str:
    rows = len(table.unread)
    if not rows:
        return ""
    first = one_line(repr(table.unread[0]))
    return f"\n{rows} {'row' if rows == 1 else 'rows'} could not be read: {first}"


def _nic(snapshot: Snapshot, line: Line) -> bool | None:
    return nic_line(line, sharers(line, snapshot.pci, snapshot.interfaces))


def _rate(snapshot: Snapshot, table: Interrupts, line: Line) -> float | None:
    if snapshot.earlier is None or not snapshot.seconds:
        return None
    delta = line_delta(snapshot.earlier.interrupts, line, table.cpus, snapshot.seconds)
    return None if delta is None else delta / snapshot.seconds
