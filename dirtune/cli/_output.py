"""The one place that prints: nothing that a terminal obeys leaves it.

Results go to standard output, all else to standard error. What a machine under test, a user or
another program named is in all of it, so every text is cleaned here once more, whatever has been
done to it before. Colours are the exception: those of `click.style` stay in a text that is
`coloured`, and whoever makes such a text cleans the names in it.
"""

import os
import re
import sys
from typing import TextIO

import click

from dirtune.escape import ascii_json, one_line, visible

# What click.style writes for the colours in use here, and nothing else.
_COLOUR = re.compile(r"(\x1b\[(?:[0-2]|3[1346]|91)m)")


def result(
    text: str | bytes, form: str = "table", *, end: str = "\n", coloured: bool = False
) -> None:
    """Print a result in the format *form*; what JSON has of its own to escape with it keeps."""
    shown = text.decode() if isinstance(text, bytes) else text
    if form == "json":
        clean = ascii_json(shown)
    elif coloured:
        clean = "".join(
            part if n % 2 else visible(part) for n, part in enumerate(_COLOUR.split(shown))
        )
    else:
        clean = visible(shown)
    _write(f"{clean}{end}", sys.stdout, colour=None if coloured and _wanted() else False)


def progress(*lines: str) -> None:
    """Print how far a command is: one line each, whatever the names in it hold."""
    _write("".join(f"{one_line(line)}\n" for line in lines), sys.stderr)


def warning(text: str) -> None:
    """Print one line that a person should know of, as one of dirtune's."""
    progress(f"dirtune: {text}")


def _wanted() -> bool:
    """Whether a terminal is to have colours; NO_COLOR means not."""
    return not os.environ.get("NO_COLOR")


def _write(text: str, stream: TextIO, *, colour: bool | None = False) -> None:
    # A terminal that is not of UTF-8 shows what it has not as an escape, too.
    encoding = getattr(stream, "encoding", None) or "utf-8"
    shown = text.encode(encoding, "backslashreplace").decode(encoding)
    click.echo(shown, file=stream, color=colour, nl=False)
