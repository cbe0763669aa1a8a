"""Print results, progress and warnings, without terminal escapes; no other module prints.

Results go to standard output, everything else to standard error. Any text may contain names that a
machine under test, a user or another program chose, so every text is cleaned here once more. Only
the colours of `click.style` stay, in a text that is `coloured`; the code that makes such a text
cleans the names in it.
"""

import os
import re
import shutil
import sys
from typing import TextIO

import click

from dirtune.escape import ascii_json, one_line, visible
from dirtune.render.folded import folded

# The sequences that click.style writes for the colours in use here.
_COLOUR = re.compile(r"(\x1b\[(?:[0-2]|3[1346]|91)m)")

_NARROWEST = 40
"""Columns that dirtune assumes of the narrowest terminal."""

_ASCII = str.maketrans("·└─", "-`-")


def result(
    text: str | bytes, form: str = "table", *, end: str = "\n", coloured: bool = False
) -> None:
    """Print a result in the format *form*; a JSON text keeps its own escapes.

    JSON is indented on a terminal, and one line elsewhere, because programs read lines. On a
    terminal, tables are folded to its width. Everything else is printed as it is: Markdown, and
    with the form `text` what people copy or feed to programs.
    """
    shown = text.decode() if isinstance(text, bytes) else text
    if form == "json":
        clean, end = ascii_json(_laid_out(shown)), "\n"
    elif coloured:
        clean = "".join(
            part if n % 2 else visible(part) for n, part in enumerate(_COLOUR.split(shown))
        )
    else:
        clean = visible(shown)
    if form == "table" and (width := columns()):
        clean = folded(clean, width)
    _write(f"{clean}{end}", sys.stdout, colour=None if coloured and _colours_allowed() else False)


def columns() -> int | None:
    """Return the width of the terminal that shows the result; None if it goes elsewhere."""
    return max(shutil.get_terminal_size().columns, _NARROWEST) if sys.stdout.isatty() else None


def _laid_out(text: str) -> str:
    import msgspec  # help starts without it

    try:
        return msgspec.json.format(text, indent=2 if sys.stdout.isatty() else -1)
    except msgspec.DecodeError:  # several documents, or a number that JSON lacks
        return text.rstrip("\n")


def answer(line: str) -> None:
    """Print one line of JSON at once, because another program waits for it."""
    _write(f"{ascii_json(line)}\n", sys.stdout)
    sys.stdout.flush()


def progress(*lines: str) -> None:
    """Print the progress of a command: each of *lines* in one row, with newlines escaped."""
    _write("".join(f"{one_line(line)}\n" for line in lines), sys.stderr)


def warning(text: str) -> None:
    """Print one warning, with the prefix `dirtune: `."""
    progress(f"dirtune: {text}")


def _colours_allowed() -> bool:
    """Return whether a terminal gets colours; NO_COLOR and a dumb terminal turn them off."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _write(text: str, stream: TextIO, *, colour: bool | None = False) -> None:
    # A terminal without UTF-8 shows other signs for lines and dots, and the rest as escapes.
    encoding = getattr(stream, "encoding", None) or "utf-8"
    if not encoding.lower().replace("_", "-").startswith("utf"):
        text = text.translate(_ASCII)
    shown = text.encode(encoding, "backslashreplace").decode(encoding)
    click.echo(shown, file=stream, color=colour, nl=False)
