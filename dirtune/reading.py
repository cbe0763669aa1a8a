"""Files read whole and within bounds: what is no regular file, or too large, is never opened.

A FIFO would be waited for, a device may do something when it is opened, and /dev/zero has no end.
What cannot be read is an OSError whose `strerror` says why, like every other refusal of the
kernel: callers put their own name of the thing before it.
"""

import errno
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dirtune.errors import NotPossible

LARGEST_BYTES = 16 << 20
"""Limit of a file that a user names, unless its reader sets another."""
_MOST_MEMORY = 256 << 20
_CHUNK_BYTES = 1 << 20


def read_bytes(path: str | Path, most: int = LARGEST_BYTES) -> bytes:
    """Return the content of the regular file *path*, of *most* bytes; OSError says why not."""
    handle = open_regular(path, most)
    try:
        return _all(handle, most)
    finally:
        os.close(handle)


def read_text(path: str | Path, most: int = LARGEST_BYTES) -> str:
    """Return the text of the regular file *path*; UnicodeDecodeError if it is not UTF-8."""
    return read_bytes(path, most).decode("utf-8")


def open_regular(path: str | Path, most: int) -> int:
    """Return a descriptor of the regular file *path*, which the caller closes."""
    _require(path, _status(path), most)
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
    handle = os.open(path, flags)
    try:  # it may be another by now
        _require(path, os.fstat(handle), most)
    except OSError:
        os.close(handle)
        raise
    return handle


@contextmanager
def memory_bounded(name: str) -> Iterator[None]:
    """Let the block take `_MOST_MEMORY` more than this process has; `NotPossible` beyond.

    Parsers take up to 60 times the bytes of a text that was made for it, and no host has such.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = (taken_bytes() + _MOST_MEMORY, soft, hard)
    lowest = min(limit for limit in limits if limit != resource.RLIM_INFINITY)
    resource.setrlimit(resource.RLIMIT_DATA, (lowest, hard))
    try:
        yield
    except MemoryError:
        most = f"{_MOST_MEMORY >> 20} MiB"
        raise NotPossible(
            f"{name}: takes more than {most} of memory, more than the record of any host"
        ) from None
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def taken_bytes() -> int:
    """Return how much memory this process has for data, in bytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
    return pages * resource.getpagesize()


def exists(path: str | Path) -> bool:
    """Whether something is at *path*; Path.exists() raises where no file could be, in 3.13 too."""
    return os.path.exists(path)  # noqa: PTH110  (a path may be longer than any)


def is_folder(path: str | Path) -> bool:
    """Whether a folder is at *path*, for any path like `exists`."""
    return os.path.isdir(path)  # noqa: PTH112  (as above)


def is_file(path: str | Path) -> bool:
    """Whether a regular file is at *path*, for any path like `exists`."""
    return os.path.isfile(path)  # noqa: PTH113  (as above)


def _status(path: str | Path) -> os.stat_result:
    try:
        return os.stat(path)  # noqa: PTH116  (a str costs half as much, and hosts have thousands)
    except ValueError as error:
        raise OSError(errno.EINVAL, "the path holds a NUL character", str(path)) from error


def _require(path: str | Path, status: os.stat_result, most: int) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file; copy its content into one", str(path))
    if status.st_size > most:
        raise _too_large(most)


def _all(handle: int, most: int) -> bytes:
    # The kernel's files have no size, and a page at a time is all that many of them give.
    parts, size = [], 0
    while part := os.read(handle, min(_CHUNK_BYTES, most + 1 - size)):
        parts.append(part)
        size += len(part)
        if size > most:
            raise _too_large(most)
    return b"".join(parts)


def _too_large(most: int) -> OSError:
    return OSError(errno.EFBIG, f"larger than {most >> 20} MiB")
