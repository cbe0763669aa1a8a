"""Render tables with untrusted names: each cell is one line, with special characters escaped."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from tabulate import tabulate

from dirtune.escape import markdown, markdown_block, markdown_code, one_line

# The Markdown formats of tabulate.
_MARKDOWN = frozenset({"github", "pipe"})


class Marked(str):
    """A finished cell, in which the caller has already escaped all names."""

    __slots__ = ()


def code(text: str) -> Marked:
    """Return *text* as code for a cell of a Markdown table."""
    return Marked(markdown_code(text).replace("|", r"\|"))


def table(
    rows: Iterable[Sequence[str]], heads: Sequence[str], style: str, align: Sequence[str] = ()
) -> str:
    """Return a table in the tabulate format *style*; numbers in cells are not reformatted."""
    clean = partial(markdown, cell=True) if style in _MARKDOWN else one_line
    return tabulate(
        [[_cell(cell, clean) for cell in row] for row in rows],
        [clean(head) for head in heads],
        tablefmt=style,
        colalign=align or None,
        disable_numparse=True,
    )


def _cell(cell: str, clean: Callable[[str], str]) -> str:
    return str(cell) if isinstance(cell, Marked) else clean(cell)


def block(text: str, form: str) -> str:
    """Return the plain *text*; put it into a literal block if *form* is `markdown`."""
    if form != "markdown":
        return text
    lines = markdown_block(text.removesuffix("\n").split("\n"), "")
    return "\n".join((*lines, "")) if text.endswith("\n") else "\n".join(lines)
