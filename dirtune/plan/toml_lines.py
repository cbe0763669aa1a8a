"""Find the line number of a key in a TOML file, because tomllib does not report it. Pure.

The search understands the syntax that plans use: tables, arrays of tables, and keys at the
beginning of a line. For a key inside an inline table or an array, the result is the line on which
the outermost key begins.
"""

import re

# No two adjacent parts of a pattern match the same character, because a line may be a million
# blanks.
_HEADER = re.compile(r"(\[\[?)([^\]]+)\]")
_KEY = re.compile(r"([A-Za-z0-9_.\"'-]+)\s*=")

_LONGEST = 1 << 20
_DEEPEST = 16
"""Largest number of dotted parts of a key, because the text may not be TOML at all."""

Path = tuple[str | int, ...]


def path_of(text: str) -> Path:
    """Return the key *text* as a path: `services[0].port` becomes ("services", 0, "port")."""
    words = re.findall(r"[A-Za-z_][A-Za-z0-9_]*|\[\d+\]", text)
    return tuple(int(word[1:-1]) if word.startswith("[") else word for word in words)


def line_of(text: str, path: Path) -> int | None:
    """Return the line number of the key *path* in the TOML *text*.

    If *text* lacks the key, the result is the line of the innermost parent table that *text*
    contains; None if *text* contains no parent table of the key.
    """
    if len(text) > _LONGEST:  # the parser refuses a text of this length
        return None
    best, line = 0, None
    for number, place in _places(text):
        common = 0
        for here, name in zip(place, path, strict=False):
            if here != name:
                break
            common += 1
        # For a key that is missing, the result is the line of its table.
        if common == len(place) and common > best:
            best, line = common, number
    return line


def _places(text: str) -> list[tuple[int, Path]]:
    """Return the line number and the path of each table header and each key in *text*."""
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
    """Return the path of the table header *names*.

    *many* is True for `[[x]]`, which gets the next index in the latest parent table.
    """
    path: Path = ()
    for place, name in enumerate(names, 1):
        path = (*path, name.strip(" \"'"))
        if many and place == len(names):
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = (*path, counts[path])
    return path
