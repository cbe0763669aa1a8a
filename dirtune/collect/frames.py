"""Frames that separate the texts in a script's output, so that no text can imitate another.

A mark begins each frame: a random number that the host's kernel generates for this run, followed
by NUL. The mark is in no program's arguments, and other users cannot read the environment that
contains it. File names, file contents and the output of commands therefore cannot contain the
mark, and a reader can split the output at the marks in one pass.
"""

import re

from dirtune.errors import ParseError

OPEN = """\
read -r mark </proc/sys/kernel/random/uuid || exit
frame() { printf 'DIRTUNE=%s\\0%s\\0' "$mark" "$1"; }
"""
"""Shell code that generates the mark and defines `frame KIND`, which begins a frame of KIND."""
_MARK = re.compile(r"DIRTUNE=[0-9a-f-]{36}\0")


def frames(text: str) -> list[str]:
    """Return the frames of an output, each as `KIND NUL text`.

    Raises `ParseError` if the output does not begin with a mark.
    """
    mark = _MARK.match(text)
    if mark is None:
        raise ParseError(
            "fetched sources",
            "the output does not begin with the mark that dirtune's script prints first",
        )
    return text.split(mark[0])[1:]
