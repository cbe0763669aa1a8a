"""Write the user's files completely or not at all.

A file is written next to the file that it replaces, flushed to the disk, and renamed. If the disk
is full, a signal arrives or the power fails, the old file is unchanged.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from dirtune import reading
from dirtune.errors import NotPossible

_PRIVATE, _USUAL = 0o600, 0o666
_PERMISSIONS, _WRITE_BY_OTHERS = 0o777, 0o022
# Links to open files of a process. A rename over one would remove it for every process.
_NEVER_REPLACED = ("/dev/fd/", "/dev/std", "/proc/")


def replace(path: Path, data: bytes, *, private: bool = False, mode: int | None = None) -> None:
    """Write *data* into a new file that replaces *path*, and set *mode* if given; see `beside`."""
    with beside(path, private=private) as file:
        file.write(data)
        if mode is not None:
            os.fchmod(file.fileno(), mode)  # not by name, which may lead to another file by then


def tree(folder: Path, files: Mapping[str, tuple[str, int]]) -> tuple[Path, ...]:
    """Write all of *files* or none, and return their paths.

    *files* gives text and mode by path below *folder*. Missing folders are created. Raises
    `NotPossible` if another user created a folder on the path in a place that all users can write
    to: that user could later exchange files that root executes.
    """
    paths = {folder / name: file for name, file in files.items()}
    above = {at for path in paths for at in path.parents}
    missing = sorted((at for at in above if not reading.exists(at)), reverse=True)
    written: list[Path] = []
    try:
        for path, (text, mode) in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            for at in path.absolute().parents:
                require_not_planted(at)
            replace(path, text.encode(), mode=mode)
            written.append(path)
    except BaseException as error:
        for path in written:
            path.unlink(missing_ok=True)
        for at in missing:
            with suppress(OSError):
                at.rmdir()
        if isinstance(error, OSError):
            raise NotPossible(f"{folder}: {error.strerror}") from error
        raise
    return tuple(written)


@contextmanager
def beside(path: Path, *, private: bool = False) -> Iterator[BinaryIO]:
    """Yield a file that replaces *path* once the block ends without an error.

    Only its owner can read a *private* file; any other file gets the mode of the file that it
    replaces, or the usual mode. A pipe or a device is written directly, unless another user
    created it in a folder that all users can write to, because that user could read the data.
    Raises `NotPossible` if the file cannot be written.
    """
    try:
        if _is_special(path):
            require_not_planted(path)
            with path.open("wb") as file:
                yield file
            return
        draft = path.with_name(f".{path.name[:200]}.{os.getpid()}.new")
        try:
            with _created(draft, path, private=private) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except BaseException:  # on Ctrl-C too, the draft is removed
            draft.unlink(missing_ok=True)
            raise
        sync(path.parent)
    except OSError as error:
        reason = error.strerror or error
        raise NotPossible(f"{path}: {reason}") from error


def sync(folder: Path | int) -> None:
    """Flush the names in *folder*, a path or a descriptor, so that a power cut loses no rename."""
    if isinstance(folder, int):
        os.fsync(folder)
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_special(path: Path) -> bool:
    if os.path.abspath(path).startswith(_NEVER_REPLACED):  # noqa: PTH100  (links are not followed)
        return True
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return False


def require_not_planted(path: Path) -> None:
    """Raise `NotPossible` if another user created *path* in a folder that all users can write to.

    The kernel itself refuses some of these files if fs.protected_fifos and fs.protected_symlinks
    are 1.
    """
    try:
        entry, above = path.lstat(), path.parent.stat()
    except FileNotFoundError:
        return
    if above.st_mode & stat.S_IWOTH and entry.st_uid not in {os.geteuid(), above.st_uid}:
        raise NotPossible(
            f"{path} belongs to user {entry.st_uid} and is in a folder that all users can "
            "write to. Choose another place."
        )


def _created(draft: Path, path: Path, *, private: bool) -> BinaryIO:
    draft.unlink(missing_ok=True)  # left by a killed process that had the same PID
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        mode = path.stat().st_mode & _PERMISSIONS
        if path.lstat().st_uid != os.geteuid():
            mode &= ~_WRITE_BY_OTHERS
    except FileNotFoundError:
        return os.fdopen(os.open(draft, flags, _PRIVATE if private else _USUAL), "wb")
    # Until it has the old file's mode, other users could open it and read the new content.
    file = os.fdopen(os.open(draft, flags, _PRIVATE), "wb")
    if not private:
        os.fchmod(file.fileno(), mode)
    return file
