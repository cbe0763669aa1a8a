"""The line of a key in the text of a TOML file, which tomllib does not give. Pure.

It finds what plans hold: tables, arrays of tables, and keys at the beginning of a line. A key
inside an inline table or an array is found by the line that its outermost key begins on.
"""

import re

# No two parts in a row that match the same: a row may be a million blanks.
_HEADER = re.compile(r"(\[\[?)([^\]]+)\]")
_KEY = re.compile(r"([A-Za-z0-9_.\"'-]+)\s*=")

_LONGEST = 1 << 20
_DEEPEST = 16
"""Parts of a key; the text may be no TOML at all."""

Path = tuple[str | int, ...]


def path_of(text: str) -> Path:
    """Return the path that a message names: `services[0].port` is ("services", 0, "port")."""
    words = re.findall(r"[A-Za-z_][A-Za-z0-9_]*|\[\d+\]", text)
    return tuple(int(word[1:-1]) if word.startswith("[") else word for word in words)


def line_of(text: str, path: Path) -> int | None:
    """Return the line, from 1, of the longest part of *path* that *text* has; None for none."""
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
    """Return each header and key with its line."""
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
    """Return the path of a header; each `[[x]]` counts up and lies in the last of its parents."""
    path: Path = ()
    for place, name in enumerate(names, 1):
        path = (*path, name.strip(" \"'"))
        if many and place == len(names):
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = (*path, counts[path])
    return path
