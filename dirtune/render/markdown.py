"""Make text from a machine harmless in Markdown.

A name can be anything, and a Markdown viewer loads an image or a link in it.
"""

import html
import re
from collections.abc import Iterable
from itertools import zip_longest

from dirtune.escape import one_line

# Markdown ignores a `_` between letters or digits, which many names contain.
_MARKS = re.compile(r"[\\`*\[\]~|]|(?<![^\W_])_|_(?![^\W_])")
# A Markdown block begins with one of these: a heading, a rule, an item of a list.
_BEGIN = re.compile(r"\A(?:(\d+)(?=[.)](?!\S))|(?=[#=]|[+-](?!\w)))")
_SPAN = re.compile(r"((?<!`)`[^`]+`(?!`))")
_TICKS = re.compile(r"`+")


def escaped(text: str, *, cell: bool = False) -> str:
    """Return *text* in one line, escaped so that Markdown shows it literally.

    Code spans are kept, because Markdown obeys nothing inside a code span. In the *cell* of a
    table, each `|` inside a code span is escaped.
    """
    parts = _SPAN.split(one_line(text).lstrip())
    spans = (part.replace("|", r"\|") if cell else part for part in parts[1::2])
    return "".join(
        piece
        for pair in zip_longest(map(_marked, parts[::2]), spans, fillvalue="")
        for piece in pair
    )


def _marked(text: str) -> str:
    return html.escape(_BEGIN.sub(r"\1\\", _MARKS.sub(r"\\\g<0>", text)), quote=False)


def inline_code(text: str) -> str:
    """Return *text* as inline code in Markdown, in one line."""
    ticks = "`" * (1 + max(map(len, _TICKS.findall(text)), default=0))
    pad = " " if text[:1] in {"`", ""} or text[-1:] == "`" else ""
    return f"{ticks}{pad}{one_line(text)}{pad}{ticks}"


def code_block(lines: Iterable[str], language: str) -> list[str]:
    """Return *lines* of code as a fenced Markdown block, with a fence that no line can close."""
    shown = [one_line(line) for line in lines]
    longest = max((len(ticks) for line in shown for ticks in _TICKS.findall(line)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}{language}", *shown, fence]


def literal(text: str, form: str) -> str:
    """Return the plain *text*; put it into a literal block if *form* is `markdown`."""
    if form != "markdown":
        return text
    lines = code_block(text.removesuffix("\n").split("\n"), "")
    return "\n".join((*lines, "")) if text.endswith("\n") else "\n".join(lines)
