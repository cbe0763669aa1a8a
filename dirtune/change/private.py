"""Folders and files that only this user may access, because dirtune obeys its journals as root.

dirtune checks the descriptor of an open file, so nobody can swap the file after the check.
"""

import os
import re
import shlex
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from dirtune.errors import NotPossible
from dirtune.writing import sync

_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_OF_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OURS = re.compile(r"lock|.+\.(lock|ready|journal(\..+)?)")
"""Names of the files that dirtune puts into these folders, including damaged journals."""
_NEVER_ELSEWHERE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not block


@contextmanager
def folder(path: Path, *, make: bool = False) -> Iterator[int]:
    """Open the folder *path* and yield its descriptor; *make* creates a missing folder.

    If other users may only read the folder, their permission is removed. Raises `NotPossible` if
    another user owns the folder, could have written to it or could replace it. Raises `OSError` if
    open(2) fails.
    """
    if make:
        _make(path)
    require_safe_way(path)
    if path.is_symlink():
        raise NotPossible(
            f"{path} is a symbolic link, which dirtune does not follow. Set DIRTUNE_STATE or "
            "DIRTUNE_RUN to the folder itself, or remove the link."
        )
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _NEVER_ELSEWHERE)
    try:
        now = os.fstat(descriptor)
        _require_own(path, now)
        if now.st_mode & _OF_OTHERS:
            _require_ours_alone(path, now, descriptor)
        _close_to_others(descriptor, 0o700)
        yield descriptor
    finally:
        os.close(descriptor)


def opened(within: int, path: Path, flags: int) -> int:
    """Open the file *path* in the folder *within* and return its descriptor.

    Raises `NotPossible` unless *path* is a regular file that only this user may access. Raises
    `OSError` if open(2) fails.
    """
    if _linked(within, path.name):
        raise NotPossible(f"{path} is a symbolic link, which dirtune does not follow. Remove it.")
    descriptor = os.open(path.name, flags | _NEVER_ELSEWHERE, 0o600, dir_fd=within)
    try:
        now = os.fstat(descriptor)
        if not stat.S_ISREG(now.st_mode):
            raise NotPossible(f"{path} is not a regular file. Remove it.")  # noqa: TRY301
        if now.st_nlink > 1:
            raise NotPossible(  # noqa: TRY301
                f"{path} has {now.st_nlink} hard links, so another folder may share it. Remove it."
            )
        _require_own(path, now)
        _close_to_others(descriptor, 0o600)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _make(path: Path) -> None:
    missing = [above for above in path.parents if not above.exists()]
    for above in reversed(missing):
        above.mkdir(0o755, exist_ok=True)
        sync(above.parent)
    try:
        path.mkdir(0o700)
    except FileExistsError:
        return
    sync(path.parent)


def _linked(within: int, name: str) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=within, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def require_safe_way(
    path: Path,
    setting: str = "DIRTUNE_STATE or DIRTUNE_RUN",
    trusted: Collection[int] = (),
) -> None:
    """Raise `NotPossible` if another user could replace *path*; *trusted* users may.

    *setting* is the variable or option with which a user can choose another path.
    """
    for above in _passed(path, set()):
        now = above.lstat()
        if now.st_uid not in {0, os.geteuid(), *trusted}:
            raise NotPossible(
                f"{above} belongs to user {now.st_uid}, who could replace {path}. "
                f"Set {setting} to a path whose folders belong to root."
            )
        open_to_others = now.st_mode & _BY_OTHERS and not now.st_mode & stat.S_ISVTX
        if open_to_others and not stat.S_ISLNK(now.st_mode):
            raise NotPossible(
                f"{above} is writable by other users (mode {_octal(now)}), who could replace "
                f"{path}. Run: chmod go-w {shlex.quote(str(above))}"
            )


def _passed(path: Path, passed: set[Path]) -> set[Path]:
    """Return *passed* plus the folders and links through which the kernel reaches *path*."""
    for above in path.parents:
        if above not in passed:
            passed.add(above)
            if above.is_symlink():
                _passed(above.parent / above.readlink() / path.name, passed)
    return passed


def _require_own(path: Path, now: os.stat_result) -> None:
    if now.st_uid != os.geteuid():
        raise NotPossible(
            f"{path} belongs to user {now.st_uid}, not to the user who runs dirtune. Check its "
            "contents, then remove it."
        )
    if now.st_mode & _BY_OTHERS and now.st_mode & stat.S_ISVTX:
        raise NotPossible(
            f"{path} is writable by all users (mode {_octal(now)}). Set DIRTUNE_STATE or "
            "DIRTUNE_RUN to a folder that only dirtune uses."
        )
    if now.st_mode & _BY_OTHERS:
        raise NotPossible(
            f"{path} is writable by other users (mode {_octal(now)}). Check its contents, then "
            f"run: chmod go= {shlex.quote(str(path))}"
        )


def _require_ours_alone(path: Path, now: os.stat_result, descriptor: int) -> None:
    """Raise `NotPossible` if the folder *path* also holds files of other programs.

    Other users may need to read these files, so dirtune must not close the folder to them.
    """
    names = os.listdir(descriptor)
    strange = next((name for name in names if not _OURS.fullmatch(name)), None)
    if strange is not None:
        raise NotPossible(
            f"{path} is readable by other users (mode {_octal(now)}) and contains {strange}, "
            "which is not dirtune's. Set DIRTUNE_STATE or DIRTUNE_RUN to a folder that only "
            f"dirtune uses, or run: chmod go= {shlex.quote(str(path))}"
        )


def _close_to_others(descriptor: int, mode: int) -> None:
    if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
        os.fchmod(descriptor, mode)


def _octal(now: os.stat_result) -> str:
    return f"{stat.S_IMODE(now.st_mode):04o}"
