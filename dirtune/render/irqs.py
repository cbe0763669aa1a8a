"""Render the interrupt table as text, Markdown or JSON (`dirtune/irqs/1`)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click
import msgspec

from dirtune.analyse.handlers import HandlerCalls
from dirtune.analyse.lines import nic_line, sharers
from dirtune.analyse.rates import line_delta, line_deltas
from dirtune.analyse.words import counted
from dirtune.collect.interrupts import Interrupts, Line
from dirtune.escape import one_line
from dirtune.render import cells
from dirtune.render.cells import Marked
from dirtune.render.markdown import escaped
from dirtune.snapshot import Snapshot

if TYPE_CHECKING:
    from dirtune.render.json_documents import IrqsDocument, LineDocument

FIELDS = ("interrupts", "pci", "interfaces")
"""The fields of a snapshot that the table shows."""
_NIC_SHARED = "NIC shared"
_MOST = 200
"""How many characters of an unreadable row are shown."""
_ALIGN = ("left", "right", "right", "right", "left", "left")


def document(snapshot: Snapshot, table: Interrupts) -> "IrqsDocument":
    """Return the interrupt table as `dirtune/irqs/1`, with `handlers` if they were probed."""
    irqs: IrqsDocument = {
        "schema": "dirtune/irqs/1",
        "cpus": list(table.cpus),
        "lines": [_line(snapshot, table, line) for line in table.lines],
    }
    if snapshot.handlers is not None:
        irqs["handlers"] = msgspec.to_builtins(snapshot.handlers)
    if snapshot.handler_counts is not None:
        irqs["handler_counts"] = msgspec.to_builtins(snapshot.handler_counts)
    return irqs


def text(snapshot: Snapshot, table: Interrupts, *, verbose: bool = False) -> str:
    """Return one row per interrupt line; if handlers were probed, their cost is below their line.

    Shared lines are marked. Rates are computed from two samples; an unknown rate is shown as `-`.
    """
    rows = ((_red(mark), *rest) for mark, *rest in _rows(snapshot, table, verbose=verbose))
    shown = cells.table(rows, _header(snapshot), "plain", _ALIGN)
    return "\n".join((shown, "", *map(one_line, _below(snapshot, table))))


def markdown(snapshot: Snapshot, table: Interrupts, *, verbose: bool = False) -> str:
    """Return the interrupt table as Markdown."""
    rows = _rows(snapshot, table, verbose=verbose)
    shown = cells.table(rows, _header(snapshot), "github", _ALIGN)
    return "\n\n".join((shown, *map(escaped, _below(snapshot, table))))


def _line(snapshot: Snapshot, table: Interrupts, line: Line) -> "LineDocument":
    rate, busiest = _rate(snapshot, table, line), _busiest(snapshot, table, line)
    return {
        "irq": line.irq,
        "chip": line.chip,
        "actions": list(line.actions),
        "counts": list(line.counts),
        "total": line.total,
        "shared": line.shared,
        "nic": _nic(snapshot, line),
        "per_second": None if rate is None else round(rate, 2),
        "busiest_cpu": busiest[0] if busiest else None,
        "busiest_percent": round(100 * busiest[1], 1) if busiest else None,
        "text": line.text,
    }


def _header(snapshot: Snapshot) -> tuple[str, ...]:
    rate = "per second" if snapshot.seconds else "since boot"
    return ("", "irq", rate, "busiest CPU", "chip", "actions")


def _rows(snapshot: Snapshot, table: Interrupts, *, verbose: bool) -> Iterator[tuple[str, ...]]:
    for line in table.lines if verbose else table.numbered:
        rate = _rate(snapshot, table, line)
        count = f"{line.total:,}" if not snapshot.seconds else _per_second(rate)
        actions = ", ".join(line.actions) if line.numbered else line.text
        cpu = _share(_busiest(snapshot, table, line))
        yield (_mark(snapshot, line), line.irq, count, cpu, line.chip or "", actions)
        for handler in _handlers(snapshot, line):
            yield ("", "", "", "", "", handler)


def _per_second(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:,.1f}"


def _share(busiest: tuple[int, float] | None) -> str:
    # Nearly all is not all: 99.97 % is shown as 99 %.
    return "-" if busiest is None else f"{busiest[0]} ({int(100 * busiest[1])} %)"


def _mark(snapshot: Snapshot, line: Line) -> str:
    if line.shared and _nic(snapshot, line):
        return _NIC_SHARED
    return "truncated" if line.cut else "shared" if line.shared else ""


def _red(mark: str) -> str:
    return Marked(click.style(mark, fg="red", bold=True)) if mark == _NIC_SHARED else mark


def _handlers(snapshot: Snapshot, line: Line) -> Iterator[str]:
    timed = snapshot.handlers.handlers if snapshot.handlers else ()
    yield from (_cost(handler) for handler in timed if str(handler.irq) == line.irq)
    counts = snapshot.handler_counts
    for handler in counts.handlers if counts else ():
        if str(handler.irq) == line.irq:
            yield f"{handler.handler}: {counted(handler.calls, 'call')}"
    if counts and counts.none.get(line.irq):
        yield f"{counted(counts.none[line.irq], 'call')} on this line found nothing to do"


def _cost(handler: HandlerCalls) -> str:
    calls = f"{handler.handler}: {counted(handler.calls, 'call')}"
    if not handler.calls:
        return calls
    us_per_call = handler.total_ns / handler.calls / 1000
    return f"{calls}, {handler.none:,} with nothing to do, {us_per_call:.1f} us per call"


def _below(snapshot: Snapshot, table: Interrupts) -> Iterator[str]:
    """Yield the lines below the table: the number of shared lines, and the unreadable rows."""
    shared = [line for line in table.numbered if line.shared]
    with_nic = [line for line in shared if _nic(snapshot, line)]
    lines, cpus = counted(len(table.numbered), "interrupt line"), counted(len(table.cpus), "CPU")
    be = "is" if len(shared) == 1 else "are"
    nics = f", {len(with_nic)} of them with a NIC" if shared else ""
    yield f"{lines} on {cpus}; {len(shared)} {be} shared{nics}"
    if table.unread:
        rows = counted(len(table.unread), "row")
        first = f"{table.unread[0][:_MOST]!r}"
        yield f"{rows} of /proc/interrupts could not be read; the first is {first}"


def _nic(snapshot: Snapshot, line: Line) -> bool | None:
    return nic_line(line, sharers(line, snapshot.pci, snapshot.interfaces))


def _rate(snapshot: Snapshot, table: Interrupts, line: Line) -> float | None:
    if snapshot.earlier is None or not snapshot.seconds:
        return None
    delta = line_delta(snapshot.earlier.interrupts, line, table.cpus, snapshot.seconds)
    return None if delta is None else delta / snapshot.seconds


def _busiest(snapshot: Snapshot, table: Interrupts, line: Line) -> tuple[int, float] | None:
    """Return the CPU that took most of the line's interrupts, and its share of them.

    Interrupts between the samples count; with one sample, those since boot. The result is None if
    there were none, or if the row has no count for each CPU.
    """
    if snapshot.earlier is not None and snapshot.seconds:
        earlier = snapshot.earlier.interrupts
        counts = line_deltas(earlier, line, table.cpus, snapshot.seconds) or {}
    elif len(line.counts) == len(table.cpus):
        counts = dict(zip(table.cpus, line.counts, strict=True))
    else:
        counts = {}
    total = sum(counts.values())
    if not total:
        return None
    cpu = max(counts, key=lambda one: counts[one])
    return cpu, counts[cpu] / total
