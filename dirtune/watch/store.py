"""The folder in which a watch keeps its evidence: complete folders only, and not too many.

A folder of evidence is filled under a hidden name and renamed at the end. A hidden folder that a
killed dirtune left behind is removed by the next one.
"""

import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dirtune import locking, writing
from dirtune.errors import NotPossible

_NAME = re.compile(r"\d{8}T\d{6}Z-[\w.-]+", re.ASCII)
_LOCK = ".lock"
_PRIVATE = 0o700
_MOST_ALIKE = 100


class Store:
    """The folder of a watch. `opened` creates it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def draft(self, name: str) -> Iterator[tuple[Path, Path]]:
        """Yield a new folder and the path that it gets once the block ends without an error."""
        final = self._free(name)
        draft = self._folder / f".{final.name}.new"
        try:
            draft.mkdir(_PRIVATE)
            yield draft, final
            writing.sync(draft)
            draft.rename(final)
        except BaseException:  # after Ctrl-C too, no incomplete folder is left
            shutil.rmtree(draft, ignore_errors=True)
            raise
        writing.sync(self._folder)

    def trim(self, keep_bytes: int) -> tuple[Path, ...]:
        """Remove the oldest folders beyond *keep_bytes*, never the newest; return their paths."""
        removed: list[Path] = []
        try:
            kept = sorted(self._folders())
        except OSError:
            return ()  # somebody removed the folder; the next capture says so
        sizes = {folder: _size(folder) for folder in kept}
        while len(kept) > 1 and sum(sizes[folder] for folder in kept) > keep_bytes:
            oldest = kept.pop(0)
            shutil.rmtree(oldest, ignore_errors=True)
            removed.append(oldest)
        return tuple(removed)

    def _folders(self) -> Iterator[Path]:
        for path in self._folder.iterdir():
            if _NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
                yield path

    def _free(self, name: str) -> Path:
        for number in range(1, _MOST_ALIKE):
            path = self._folder / (name if number == 1 else f"{name}.{number}")
            if not path.exists():
                return path
        raise NotPossible(f"{self._folder / name} exists {_MOST_ALIKE - 1} times already.")


@contextmanager
def opened(folder: Path) -> Iterator[Store]:
    """Create *folder* if it is missing, and hold its lock.

    Raises `NotPossible` if it cannot be written, if other users can write to it, or if another
    watch uses it.
    """
    try:
        folder.mkdir(_PRIVATE, parents=True, exist_ok=True)
        for path in (folder.absolute(), *folder.absolute().parents):
            writing.require_not_planted(path)
        now = folder.stat()
        if now.st_uid != os.geteuid() or now.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise NotPossible(
                f"Other users can write to {folder}, and could exchange the evidence. "
                "Choose another folder with --out."
            )
        descriptor = os.open(
            folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
    except OSError as error:
        raise NotPossible(f"{folder}: {error.strerror}") from error
    try:
        if not locking.take(descriptor):
            raise NotPossible(
                f"Another `dirtune watch` keeps its evidence in {folder}. "
                "Choose another folder with --out."
            )
        for left in folder.glob(".*Z-*.new"):
            shutil.rmtree(left, ignore_errors=True)
        yield Store(folder)
    finally:
        os.close(descriptor)


def _size(folder: Path) -> int:
    """Return the bytes of the files in *folder*; 0 if somebody is removing it."""
    try:
        return sum(path.lstat().st_size for path in folder.iterdir())
    except OSError:
        return 0
