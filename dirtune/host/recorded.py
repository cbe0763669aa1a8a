"""One sample of another machine in memory, which comes from an archive or over SSH."""

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

from dirtune.errors import SourceMissing, SourceRefused
from dirtune.host.paths import is_pattern

_Folder: TypeAlias = "dict[str, _Folder]"


@dataclass(frozen=True)
class RecordedHost:
    """One sample of another machine in memory."""

    files: Mapping[str, str]
    links: Mapping[str, str]
    refused: frozenset[str] = frozenset()
    """Files that existed on the host but could not be read."""
    taken_s: float | None = None
    """The host's monotonic clock when the sample was taken, in seconds; None if unknown."""
    modes: Mapping[str, int] = field(default_factory=dict)
    """Permission bits by path, only of the files for which they matter."""

    def read(self, path: str) -> str:
        """Return the recorded text of *path*."""
        if path in self.refused:
            raise SourceRefused(f"{path} could not be read when the host was recorded")
        try:
            return self.files[path]
        except KeyError as error:
            raise SourceMissing(f"{path} is not in the record") from error

    def glob(self, pattern: str) -> tuple[str, ...]:
        """Return the recorded files and folders that match *pattern*; * does not match a slash."""
        folders = {"": self._tree}
        for part in pattern.split("/")[1:]:
            folders = {
                f"{path}/{name}": folder[name]
                for path, folder in folders.items()
                for name in _matching(folder, part)
            }
        return tuple(sorted(folders))

    def link(self, path: str) -> str:
        """Return the recorded target of the link *path*."""
        try:
            return self.links[path]
        except KeyError as error:
            raise SourceMissing(f"{path} is not a link in the record") from error

    def mode(self, path: str) -> int | None:
        """Return the recorded permission bits of *path*; None if they were not recorded."""
        return self.modes.get(path)

    def monotonic(self) -> float | None:
        """Return the host's monotonic clock, in seconds, at the time of the sample."""
        return self.taken_s

    @cached_property
    def _tree(self) -> _Folder:
        """All recorded paths as a tree of nested dicts, in which a file is an empty folder."""
        top: _Folder = {}
        for path in (*self.files, *self.links):
            folder = top
            for part in path.split("/")[1:]:
                folder = folder.setdefault(part, {})
        return top


def _matching(folder: _Folder, part: str) -> Iterable[str]:
    """Return the names in *folder* that one part of a shell pattern matches."""
    if not is_pattern(part):
        return (part,) if part in folder else ()
    return fnmatch.filter(folder, part)
