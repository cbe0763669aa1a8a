"""Files of a host with some of them replaced, to read a configuration before it is written. Pure.

A path that the host lacks is added.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase

from dirtune.keepalived.source import Files


class Overlaid:
    """The files of a host, with other texts for some paths."""

    def __init__(self, files: Files, texts: Mapping[str, str]) -> None:
        """Read the paths of *texts* from there, and all other paths from *files*."""
        self._files = files
        self._texts = texts

    def read(self, path: str) -> str:
        """Return the text of *path*."""
        text = self._texts.get(path)
        return self._files.read(path) if text is None else text

    def glob(self, pattern: str) -> tuple[str, ...]:
        """Return the paths that match *pattern*, sorted."""
        added = (path for path in self._texts if _matches(path, pattern))
        return tuple(sorted({*self._files.glob(pattern), *added}))

    def mode(self, path: str) -> int | None:
        """Return the permission bits of *path*; None for a replaced file."""
        return None if path in self._texts else self._files.mode(path)


def _matches(path: str, pattern: str) -> bool:
    parts, wanted = path.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))
