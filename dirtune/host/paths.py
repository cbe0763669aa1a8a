"""Paths on a host: shell patterns, and the links of a recorded tree. Pure."""

import glob
import re
from collections.abc import Callable

from dirtune.errors import SourceRefused

_MOST_LINKS = 40  # as many as Linux follows (include/linux/namei.h, MAXSYMLINKS)
_WILDCARD = re.compile(r"[*?[]")


def literal(path: str) -> str:
    """Return a pattern for `Host.glob` that matches only *path*, by escaping its wildcards."""
    return glob.escape(path)


def is_pattern(part: str) -> bool:
    """Return whether one part of a path contains a wildcard."""
    return _WILDCARD.search(part) is not None


def followed(path: str, target: Callable[[str], str | None]) -> str:
    """Return *path* after following every link in it; absolute links start at the top folder.

    *target* returns the target of a link, and None for a path that is not a link. Raises
    `SourceRefused`, which names the link, if a link points above the top folder or forms a loop.
    """
    done: list[str] = []
    ahead, link, hops = path.split("/")[::-1], path, 0
    while ahead:
        part = ahead.pop()
        if part == ".." and not done:
            raise SourceRefused(f"{link} is a link that points outside the recorded tree")
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
                raise SourceRefused(f"{link} is part of a loop of links")
            done = [] if to.startswith("/") else done
            ahead += to.split("/")[::-1]
    return "/" + "/".join(done)
