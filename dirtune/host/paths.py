"""Paths on a host: shell patterns, and links that are followed within a record. Pure."""

import glob
import re
from collections.abc import Callable

from dirtune.errors import SourceRefused

_MOST_LINKS = 40  # as many as Linux follows (include/linux/namei.h, MAXSYMLINKS)
_WILDCARD = re.compile(r"[*?[]")


def literal(path: str) -> str:
    """Return the pattern for `Host.glob` of *path* alone; a name may hold what is a wildcard."""
    return glob.escape(path)


def is_pattern(part: str) -> bool:
    """Tell whether one part of a path may match more than the name that it is."""
    return _WILDCARD.search(part) is not None


def followed(path: str, target: Callable[[str], str | None]) -> str:
    """Return *path* with every link in it followed, absolute ones from the top.

    *target* is what a path without links leads to, None if it is no link itself. `SourceRefused`
    names a link that leads above the top, or in a circle.
    """
    done: list[str] = []
    ahead, link, hops = path.split("/")[::-1], path, 0
    while ahead:
        part = ahead.pop()
        if part == ".." and not done:
            raise SourceRefused(f"{link}: the link leads out of the recorded tree")
        if part == "..":
            done.pop()
        elif part not in {"", "."}:
            at = "/".join(("", *done, part))
            to = target(at)
            if to is None:
                done.append(part)
                continue
            link, hops = at, hops + 1
            if hops > _MOST_LINKS:
                raise SourceRefused(f"{link}: the link leads in a circle")
            done = [] if to.startswith("/") else done
            ahead += to.split("/")[::-1]
    return "/" + "/".join(done)
