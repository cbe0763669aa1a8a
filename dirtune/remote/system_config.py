"""Make the system-wide ssh_config readable from another configuration file.

ssh reads a relative path of an Include in /etc/ssh/ssh_config relative to /etc/ssh. If dirtune's
own configuration includes that file, ssh reads the path relative to ~/.ssh instead. So dirtune
includes copies, in which these paths are absolute.
"""

import glob
import os
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

FOLDER = Path("/etc/ssh")
_INCLUDE = re.compile(r"(?P<begin>\s*include(?:\s*=\s*|\s+))(?P<paths>\S.*)", re.IGNORECASE)
_DEPTH = 16  # files that include each other, as ssh limits them
_MOST_BYTES = 1 << 20
_MOST_COPIES = 1000

Keep = Callable[[Path, str], Path]
"""A function that stores the changed text of a file, and returns the path of the copy."""


def readable(path: Path, keep: Keep, folder: Path = FOLDER) -> Path:
    """Return *path*, or the path of its copy if it has a relative Include, directly or not."""
    return _readable(path, _limited(keep), folder, 0)


def _limited(keep: Keep) -> Keep:
    left = iter(range(_MOST_COPIES))

    def limited(path: Path, text: str) -> Path:
        return path if next(left, None) is None else keep(path, text)

    return limited


def _readable(path: Path, keep: Keep, folder: Path, depth: int) -> Path:
    text = _text(path)
    if text is None or depth > _DEPTH:
        return path
    rows = text.split("\n")
    changed = [_row(row, keep, folder, depth) for row in rows]
    return path if changed == rows else keep(path, "\n".join(changed))


def _text(path: Path) -> str | None:
    """Return the text of a file that ssh would read; None for any other file."""
    with suppress(OSError):
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(file, "rb") as opened:
            status = os.fstat(file)
            trusted = status.st_uid in {0, os.getuid()} and not status.st_mode & 0o022
            if trusted and status.st_size <= _MOST_BYTES:
                return os.fsdecode(opened.read(_MOST_BYTES))
    return None


def _row(row: str, keep: Keep, folder: Path, depth: int) -> str:
    match = _INCLUDE.fullmatch(row)
    if match is None:
        return row
    try:
        patterns = shlex.split(match["paths"], comments=True)
    except ValueError:
        return row  # ssh refuses it
    # ssh itself expands a home folder, tokens and variables.
    if any(pattern[:1] in {"~", "%", "$"} for pattern in patterns):
        return row
    paths = [path for pattern in patterns for path in _paths(pattern, keep, folder, depth)]
    absolute = all(pattern.startswith("/") for pattern in patterns)
    if absolute and all(path is None for path, _ in paths):
        return row
    return match["begin"] + " ".join(_quoted(copy or own) for copy, own in paths)


def _paths(pattern: str, keep: Keep, folder: Path, depth: int) -> Iterator[tuple[str | None, str]]:
    """Yield the copy (None if there is none) and the own path of each file of an Include."""
    absolute = str(folder / pattern)
    files = sorted(glob.glob(absolute))  # noqa: PTH207  (a pattern, not a path)
    if not files:
        yield None, absolute
    for file in files:
        copy = str(_readable(Path(file), keep, folder, depth + 1))
        yield None if copy == file else copy, file


def _quoted(path: str) -> str:
    if re.fullmatch(r"[\w/.+:@,*?\[\]-]+", path, re.ASCII):
        return path
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
