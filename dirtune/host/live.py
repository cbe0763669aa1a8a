"""The read-only door to this machine, or to a tree recorded from another."""

import fnmatch
import os
import stat
import time
from pathlib import Path
from typing import Protocol

from dirtune.errors import SourceMissing, SourceRefused, require_files
from dirtune.host.paths import followed, is_pattern
from dirtune.host.texts import WIDEST, readable
from dirtune.reading import read_bytes

_LARGEST_BYTES = 32 << 20
"""Limit of a kernel file; /proc/interrupts of 1152 CPUs is 25 MB."""
_LARGEST_TREE = 256 << 20
"""Limit of all that is read of a recorded tree; a sparse file costs its sender nothing."""


class Host(Protocol):
    """A machine opened for reading, live or recorded."""

    def read(self, path: str) -> str:
        """Return the text of *path*; `SourceMissing` or `SourceRefused` if there is none."""
        ...

    def glob(self, pattern: str) -> tuple[str, ...]:
        """Return the absolute paths that match the shell *pattern*, sorted."""
        ...

    def link(self, path: str) -> str:
        """Return the target of the symbolic link *path*, as written."""
        ...

    def mode(self, path: str) -> int | None:
        """Return the permission bits of *path*, None if it is absent or the record is silent."""
        ...

    def monotonic(self) -> float | None:
        """Return the host's clock in seconds, None if the record does not say."""
        ...


class LiveHost:
    """This machine (`/`), or a directory tree recorded from another."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._real: dict[str, str] = {}
        """Folders of a recorded tree with their links followed, by their paths."""
        self._left = _LARGEST_TREE

    @property
    def here(self) -> bool:
        """Whether it is this machine."""
        return self._root == Path("/")

    def read(self, path: str) -> str:
        """Return the text of *path*."""
        try:
            data = read_bytes(self._file(path), min(_LARGEST_BYTES, max(0, self._left)))
        except (FileNotFoundError, NotADirectoryError, ProcessLookupError) as error:
            raise SourceMissing(f"{path}: not on this host") from error
        except OSError as error:
            require_files(error)
            raise SourceRefused(f"{path}: {error.strerror}") from error
        if not self.here:
            self._left -= len(data) * (1 if data.isascii() else WIDEST)
        return readable(data)

    def glob(self, pattern: str) -> tuple[str, ...]:
        """Return the paths that match *pattern*, as this host names them.

        What is gone again by the time it is looked at is not there, on every Python.
        """
        paths = [""]
        for part in pattern.split("/")[1:]:
            wild = is_pattern(part)
            paths = [
                f"{folder}/{name}"
                for folder in paths
                for name in (fnmatch.filter(self._names(folder), part) if wild else (part,))
            ]
        return tuple(sorted(path for path in paths if os.path.lexists(self._at(path))))

    def link(self, path: str) -> str:
        """Return the target of the symbolic link *path*."""
        try:
            return str(self._at(path).readlink())
        except OSError as error:
            raise SourceMissing(f"{path}: not a link on this host") from error

    def mode(self, path: str) -> int | None:
        """Return the permission bits of *path*; a recorded tree's own bits mean nothing."""
        if not self.here:
            return None
        try:
            return stat.S_IMODE(self._file(path).stat().st_mode)
        except OSError:
            return None

    def monotonic(self) -> float | None:
        """Return this machine's clock; a recorded tree is one moment without a clock."""
        return time.monotonic() if self.here else None

    def _at(self, path: str) -> Path:
        """Return where *path* is; links on the way to it are followed within the root."""
        if self.here:
            return self._root / path.lstrip("/")
        folder, _, name = path.rpartition("/")
        if folder not in self._real:
            self._real[folder] = followed(folder, self._target)
        return Path(f"{self._root}{self._real[folder]}/{name}")

    def _file(self, path: str) -> Path:
        """Return where the content of *path* is, which may itself be a link."""
        at = self._at(path)
        if self.here or not at.is_symlink():
            return at
        return self._root / followed(path, self._target).lstrip("/")

    def _target(self, path: str) -> str | None:
        try:
            return str((self._root / path.lstrip("/")).readlink())
        except OSError:
            return None

    def _names(self, folder: str) -> list[str]:
        try:
            return [entry.name for entry in os.scandir(self._file(folder or "/"))]
        except OSError as error:
            require_files(error)
            return []
