"""Texts and names of a host as a record holds them. Pure."""

import os
import re

WIDEST = 4
"""Bytes in memory that one byte of a file can take once it is text: of `\\xff`, and of all beside
one emoji."""
_PARTING = re.compile(r"\r(?!\n)|[^\S \t\n\r]")
_ASCII_PARTING = "\r\x0b\x0c\x1c\x1d\x1e\x1f"


def readable(data: bytes) -> str:
    r"""Return *data* as text.

    Kernel text is ASCII in practice; a stray byte must not lose the whole of it, and keeps its
    value as `\xff`.
    """
    return data.decode("utf-8", "backslashreplace")


def recorded_text(text: str) -> str:
    """Return *text* as a record holds it: blanks, tabs and newlines alone part words and rows.

    Python parts them at more characters, which a name on a machine may hold; each is its escape.
    """
    if text.isascii() and not any(character in text for character in _ASCII_PARTING):
        return text  # nearly every text, and quicker than to look for each
    return _PARTING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def recorded_path(path: str) -> str:
    """Return a path of this machine as a record holds it, spelled as texts spell its names."""
    return recorded_text(readable(os.fsencode(path)))
