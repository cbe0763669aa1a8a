"""Find the line of a key in a TOML file, because tomllib does not report lines. Pure.

The search covers the syntax that plans use: tables, arrays of tables, and keys at the beginning of
a line. For a key inside an inline table or an array, the result is the line on which the outermost
key begins.
"""

import re

# No two parts in a row that match the same: a row may be a million blanks.
_HEADER = re.compile(r"(\[\[?)([^\]]+)\]")
_KEY = re.compile(r"([A-Za-z0-9_.\"'-]+)\s*=")

_LONGEST = 1 << 20
_DEEPEST = 16
"""Limit of the parts of a key, because the text may not be TOML at all."""

Path = tuple[str | int, ...]


def path_of(text: str) -> Path:
    """Return the path that a message names: `services[0].port` is ("services", 0, "port")."""
    words = re.findall(r"[A-Za-z_][A-Za-z0-9_]*|\[\d+\]", text)
    return tuple(int(word[1:-1]) if word.startswith("[") else word for word in words)


def line_of(text: str, path: Path) -> int | None:
    """Return the line number of *path* in *text*; None if *text* has no part of *path*.

    If *text* has only the beginning of *path*, the result is the line of that beginning.
    """
    if len(text) > _LONGEST:  # refused for it
        return None
    best, line = 0, None
    for number, place in _places(text):
        common = 0
        for here, name in zip(place, path, strict=False):
            if here != name:
                break
            common += 1
        # A table's own line stands for what is missing in it.
        if common == len(place) and common > best:
            best, line = common, number
    return line


def _places(text: str) -> list[tuple[int, Path]]:
    """Return the line number and the path of each header and key."""
    places: list[tuple[int, Path]] = []
    table: Path = ()
    counts: dict[Path, int] = {}
    for number, row in enumerate(map(str.strip, text.splitlines()), 1):
        if header := _HEADER.match(row):
            table = _table(header[2].split(".", _DEEPEST), counts, many=header[1] == "[[")
            places.append((number, table))
        elif key := _KEY.match(row):
            places.append(
                (number, (*table, *(part.strip("\"'") for part in key[1].split(".", _DEEPEST))))
            )
    return places


def _table(names: list[str], counts: dict[Path, int], *, many: bool) -> Path:
    """Return the path of a header; each `[[x]]` gets the next index in the latest parent table."""
    path: Path = ()
    for place, name in enumerate(names, 1):
        path = (*path, name.strip(" \"'"))
        if many and place == len(names):
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = (*path, counts[path])
    return path
