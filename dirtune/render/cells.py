"""Render tables with untrusted names: each cell is one line, with special characters escaped."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from tabulate import tabulate

from dirtune.escape import one_line
from dirtune.render.markdown import escaped, inline_code

_MOST = 1 << 23
"""Characters of one column of a table, including the blanks that align it."""
_LEAST = 100
"""Characters of a cell that are shown in a table of any length."""
# The Markdown formats of tabulate.
_MARKDOWN = frozenset({"github", "pipe"})


class Marked(str):
    """A finished cell, in which the caller has already escaped all names."""

    __slots__ = ()


def code(text: str) -> Marked:
    """Return *text* as code for a cell of a Markdown table."""
    return Marked(inline_code(text).replace("|", r"\|"))


def widest(rows: int) -> int:
    """Return the number of characters that a cell may have in a table of *rows* rows.

    Every cell of a column is made as wide as the widest cell, so a single long name of a hostile
    host would be multiplied by the number of rows.
    """
    return max(_LEAST, _MOST // max(1, rows))


def shortened(text: str, most: int) -> str:
    """Return *text*; if it is longer than *most* characters, only its beginning and `...`."""
    return text if len(text) <= most else f"{text[:most]}..."


def table(
    rows: Iterable[Sequence[str]], heads: Sequence[str], style: str, align: Sequence[str] = ()
) -> str:
    """Return a table in the tabulate format *style*; numbers in cells are not reformatted.

    A cell that is too long for a table of this length is shortened: see `widest`.
    """
    clean = partial(escaped, cell=True) if style in _MARKDOWN else one_line
    texts = tuple(map(tuple, rows))
    most = widest(len(texts))
    return tabulate(
        [[_cell(cell, clean, most) for cell in row] for row in texts],
        [clean(head) for head in heads],
        tablefmt=style,
        # tabulate 0.9 counts no columns if there are no rows, and then takes no alignments.
        colalign=(align or None) if texts else None,
        disable_numparse=True,
    )


def _cell(cell: str, clean: Callable[[str], str], most: int) -> str:
    return str(cell) if isinstance(cell, Marked) else clean(shortened(cell, most))
