"""Make text from a machine harmless for the terminal or document in which it is shown.

Handlers, processes, interfaces, hosts and files can have any name: a terminal obeys an escape
sequence in a name, and a Markdown viewer loads an image or a link. Characters that Python calls
printable are shown unchanged. All others are shown as the escapes of a Python string (backslash,
x, 1b): control characters, invisible characters, those that change the direction of text, lone
surrogates, and every space except the plain one.
"""

import html
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from itertools import zip_longest
from typing import Any

# Markdown ignores a `_` between letters or digits, which many names contain.
_MARKS = re.compile(r"[\\`*\[\]~|]|(?<![^\W_])_|_(?![^\W_])")
# A Markdown block begins with one of these: a heading, a rule, an item of a list.
_BEGIN = re.compile(r"\A(?:(\d+)(?=[.)](?!\S))|(?=[#=]|[+-](?!\w)))")
_SPAN = re.compile(r"((?<!`)`[^`]+`(?!`))")
_TICKS = re.compile(r"`+")
_BEYOND_ASCII = re.compile(r"[^\n -~]")


def visible(text: str) -> str:
    """Escape everything in *text* that a terminal would obey; keep newlines and tabs."""
    return "\n".join(
        "\t".join(map(one_line, line.split("\t"))) if not line.isprintable() else line
        for line in text.split("\n")
    )


def one_line(text: str) -> str:
    """Return *text* as one line, and escape everything that a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def ascii_json(text: str) -> str:
    """Return the JSON *text* with every character beyond ASCII as a JSON escape."""
    return _BEYOND_ASCII.sub(_json_escape, text)


def markdown(text: str, *, cell: bool = False) -> str:
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


def markdown_code(text: str) -> str:
    """Return *text* as inline code in Markdown, in one line."""
    ticks = "`" * (1 + max(map(len, _TICKS.findall(text)), default=0))
    pad = " " if text[:1] in {"`", ""} or text[-1:] == "`" else ""
    return f"{ticks}{pad}{one_line(text)}{pad}{ticks}"


def _json_escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[n] << 8 | units[n + 1]:04x}" for n in range(0, len(units), 2))


def markdown_block(lines: Iterable[str], language: str) -> list[str]:
    """Return *lines* of code as a fenced Markdown block, with a fence that no line can close."""
    shown = [one_line(line) for line in lines]
    longest = max((len(ticks) for line in shown for ticks in _TICKS.findall(line)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}{language}", *shown, fence]


def each_text(value: Any, change: Callable[[str], str]) -> Any:  # noqa: ANN401  (data of any kind)
    """Return the nested data *value* with the function *change* applied to every string in it."""
    if type(value) is str:  # a member of a StrEnum is kept
        return change(value)
    if isinstance(value, list | tuple | frozenset) and not hasattr(value, "_fields"):
        return type(value)(each_text(item, change) for item in value)
    if isinstance(value, Mapping):
        return {each_text(key, change): each_text(item, change) for key, item in value.items()}
    if names := getattr(type(value), "__struct_fields__", None):
        return type(value)(**{name: each_text(getattr(value, name), change) for name in names})
    if is_dataclass(value) and not isinstance(value, type):
        own = (field.name for field in fields(value) if field.init)
        return replace(value, **{name: each_text(getattr(value, name), change) for name in own})
    return value
