"""Tables of cells with untrusted names: each cell is one line that nothing obeys."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from tabulate import tabulate

from dirtune.escape import markdown, markdown_block, markdown_code, one_line

# The Markdown formats of tabulate.
_MARKDOWN = frozenset({"github", "pipe"})


class Marked(str):
    """A finished cell: its maker has cleaned the names in it."""

    __slots__ = ()


def code(text: str) -> Marked:
    """Return *text* as a Markdown cell of code."""
    return Marked(markdown_code(text).replace("|", r"\|"))


def table(
    rows: Iterable[Sequence[str]], heads: Sequence[str], style: str, align: Sequence[str] = ()
) -> str:
    """Return *rows* below *heads* in one of tabulate's formats; a cell is shown as it is."""
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
    """Return a plain *text* in the format *form*: in Markdown it is a block of literal text."""
    if form != "markdown":
        return text
    lines = markdown_block(text.removesuffix("\n").split("\n"), "")
    return "\n".join((*lines, "")) if text.endswith("\n") else "\n".join(lines)
