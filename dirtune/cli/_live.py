"""Show a running profile as a table on the terminal, which is redrawn every second."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from dirtune.analyse import cpu
from dirtune.analyse.cpu import Sample
from dirtune.escape import one_line
from dirtune.exit_status import terminal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_BUSIEST_LINES = 4


@contextmanager
def shown(*, quiet: bool) -> Iterator[Callable[[Sequence[Sample]], None]]:
    """Yield a function that shows the last second of samples if there is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.live import Live

    # A separate stream: sys.stderr would escape the sequences that move the cursor.
    with Live(console=_console(terminal()), transient=True, auto_refresh=False) as live:
        yield lambda samples: live.update(_table(samples), refresh=True)


def _console(file: TextIO) -> "Console":
    from rich.console import Console

    # Names are not markup: "[bold]" or "[link=...]" in a name is printed as it is.
    return Console(file=file, markup=False, emoji=False, highlight=False)


def _table(samples: Sequence[Sample]) -> "Table":
    from rich.table import Table

    earlier, later = samples[-2], samples[-1]
    table = Table(title=f"second {len(samples) - 1}", title_justify="left", box=None)
    for head in ("cpu", "user %", "system %", "softirq %", "irq %", "idle %"):
        table.add_column(head, justify="left" if head == "cpu" else "right")
    for name, states in cpu.shares_by_cpu(earlier, later).items():
        columns = ("user", "system", "softirq", "irq", "idle")
        table.add_row(
            one_line(name), *(f"{states[c]:.0f}" if c in states else "" for c in columns)
        )
    table.caption = "   ".join((*_ipvs(earlier, later), *_lines(earlier, later)))
    table.caption_justify = "left"
    return table


def _ipvs(earlier: Sample, later: Sample) -> Iterator[str]:
    seconds = later.at_s - earlier.at_s
    for name, unit in (("connections", "connections/s"), ("packets_in", "packets/s")):
        if name in later.ip_vs and name in earlier.ip_vs:
            yield f"{(later.ip_vs[name] - earlier.ip_vs[name]) / seconds:.0f} {unit}"


def _lines(earlier: Sample, later: Sample) -> Iterator[str]:
    seconds = later.at_s - earlier.at_s
    rates = {irq: (n - earlier.lines.get(irq, n)) / seconds for irq, n in later.lines.items()}
    for irq in sorted(rates, key=lambda irq: -rates[irq])[:_BUSIEST_LINES]:
        if rates[irq] > 0:
            yield f"irq {one_line(irq)}: {rates[irq]:.0f}/s"
