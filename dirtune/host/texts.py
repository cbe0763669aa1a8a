"""Conversion of a host's texts and names to the form that a record keeps. Pure."""

import os
import re

WIDEST = 4
"""Bytes of memory that one byte of a file may take as text: an invalid byte becomes `\\xff`, and
one emoji makes Python store every character of the text in 4 bytes."""
_PARTING = re.compile(r"\r(?!\n)|[^\S \t\n\r]")
_ASCII_PARTING = "\r\x0b\x0c\x1c\x1d\x1e\x1f"


def readable(data: bytes) -> str:
    r"""Return *data* as text; a byte that is not UTF-8 becomes its escape, `\xff`.

    Kernel texts are ASCII in practice, but a single invalid byte must not cause an error.
    """
    return data.decode("utf-8", "backslashreplace")


def recorded_text(text: str) -> str:
    """Return *text* with all white-space characters escaped, except space, tab and newline.

    Python's split() and splitlines() would split at these characters too, but the kernel's formats
    do not, and names on a host may contain them.
    """
    if text.isascii() and not any(character in text for character in _ASCII_PARTING):
        return text  # the usual case, and faster than the substitution
    return _PARTING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def recorded_path(path: str) -> str:
    """Return a path of this machine as a record keeps it, with the same escapes as in texts."""
    return recorded_text(readable(os.fsencode(path)))
