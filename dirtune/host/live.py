"""Read-only access to this machine, or to a tree recorded from another machine."""

import fnmatch
import os
import stat
import time
from pathlib import Path
from typing import Protocol

from dirtune.errors import SourceMissing, SourceRefused, require_files
from dirtune.host.paths import followed, is_pattern
from dirtune.host.texts import WIDEST, readable, recorded_text
from dirtune.reading import read_bytes

_LARGEST_BYTES = 32 << 20
"""Size limit of a kernel file; /proc/interrupts of a host with 1,152 CPUs has 25 MB."""
_LARGEST_TREE = 256 << 20
"""Limit of the bytes read from a recorded tree, which may contain huge sparse files."""


class Host(Protocol):
    """Read-only access to a live or recorded machine."""

    def read(self, path: str) -> str:
        """Return the text of the file *path*.

        Raises `SourceMissing` if the file does not exist, and `SourceRefused` if it cannot be
        read.
        """
        ...

    def glob(self, pattern: str) -> tuple[str, ...]:
        """Return the absolute paths that match the shell *pattern*, sorted."""
        ...

    def link(self, path: str) -> str:
        """Return the target of the symbolic link *path*, not resolved.

        Raises `SourceMissing` if *path* is not a link.
        """
        ...

    def mode(self, path: str) -> int | None:
        """Return the permission bits of *path*; None if *path* or its bits are missing."""
        ...

    def monotonic(self) -> float | None:
        """Return the host's monotonic clock in seconds; None if it was not recorded."""
        ...


class LiveHost:
    """This machine (`/`), or a directory tree recorded from another machine."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._real: dict[str, str] = {}
        """Resolved paths of the folders of a recorded tree, by their unresolved paths."""
        self._left = _LARGEST_TREE

    @property
    def here(self) -> bool:
        """Whether the host is this machine, not a recorded tree."""
        return self._root == Path("/")

    def read(self, path: str) -> str:
        """Return the text of *path*."""
        try:
            data = read_bytes(self._file(path), min(_LARGEST_BYTES, max(0, self._left)))
        except (FileNotFoundError, NotADirectoryError, ProcessLookupError) as error:
            raise SourceMissing(f"{path} does not exist on this host") from error
        except OSError as error:
            require_files(error)
            raise SourceRefused(f"{path}: {error.strerror}") from error
        if not self.here:
            self._left -= len(data) * (1 if data.isascii() else WIDEST)
            return recorded_text(readable(data))
        return readable(data)

    def glob(self, pattern: str) -> tuple[str, ...]:
        """Return the paths on the host that match *pattern*.

        Paths that vanish during the search are left out.
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
            raise SourceMissing(f"{path} is not a symbolic link on this host") from error

    def mode(self, path: str) -> int | None:
        """Return the permission bits of *path*; None for a recorded tree.

        The files of a recorded tree do not have the permission bits of the original files.
        """
        if not self.here:
            return None
        try:
            return stat.S_IMODE(self._file(path).stat().st_mode)
        except OSError:
            return None

    def monotonic(self) -> float | None:
        """Return this machine's monotonic clock in seconds; None for a recorded tree."""
        return time.monotonic() if self.here else None

    def _at(self, path: str) -> Path:
        """Return the real path of *path* below the root, after following links in its folders."""
        if self.here:
            return self._root / path.lstrip("/")
        folder, _, name = path.rpartition("/")
        if folder not in self._real:
            self._real[folder] = followed(folder, self._target)
        return Path(f"{self._root}{self._real[folder]}/{name}")

    def _file(self, path: str) -> Path:
        """Return the real path of the file *path* below the root, after following all links."""
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
