"""Frames in which a script hands over what it read, so that no text can pose as another.

The output is cut into frames by a mark: a number that the host's kernel made at random for this
run, with a NUL behind it. It is in no program's arguments, and no other user can see the
environment that it is in: what a host holds (names of files, their texts, what commands print)
cannot hold it. A reader therefore finds the frames by the mark alone, in one pass.
"""

import re

from dirtune.errors import ParseError

OPEN = """\
read -r mark </proc/sys/kernel/random/uuid || exit
frame() { printf 'DIRTUNE=%s\\0%s\\0' "$mark" "$1"; }
"""
"""Shell: make the mark, and define `frame KIND`, which begins a frame of that kind."""
_MARK = re.compile(r"DIRTUNE=[0-9a-f-]{36}\0")


def frames(text: str) -> list[str]:
    """Return the frames of an output, each as `KIND NUL text`; `ParseError` if it has none."""
    mark = _MARK.match(text)
    if mark is None:
        raise ParseError("fetched sources", "not what was asked for")
    return text.split(mark[0])[1:]
