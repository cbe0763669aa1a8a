"""Read complete files safely: open only regular files, and only up to a size limit.

Opening a FIFO would block, opening a device may have an effect, and /dev/zero never ends. A file
that is refused raises an OSError, as the kernel's own refusals do. Its `strerror` is the reason;
callers put the name of the file before it.
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
"""Size limit of a file that a user names, unless the reader sets another limit."""
_MOST_MEMORY = 384 << 20
_CHUNK_BYTES = 1 << 20


def read_bytes(path: str | Path, most: int = LARGEST_BYTES) -> bytes:
    """Return the content of the regular file *path*.

    Raises OSError, with the reason, if it cannot be read or is larger than *most* bytes.
    """
    handle = open_regular(path, most)
    try:
        return _all(handle, most)
    finally:
        os.close(handle)


def read_text(path: str | Path, most: int = LARGEST_BYTES) -> str:
    """Return the text of the regular file *path*, at most *most* bytes.

    Raises OSError like `read_bytes`, and UnicodeDecodeError if the file is not UTF-8.
    """
    return read_bytes(path, most).decode("utf-8")


def open_regular(path: str | Path, most: int) -> int:
    """Open the regular file *path* and return its descriptor, which the caller must close.

    Raises OSError if it is not a regular file or is larger than *most* bytes.
    """
    _require(path, _status(path), most)
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
    handle = os.open(path, flags)
    try:  # the path may lead to another file by now
        _require(path, os.fstat(handle), most)
    except OSError:
        os.close(handle)
        raise
    return handle


@contextmanager
def memory_bounded(name: str) -> Iterator[None]:
    """Let the block allocate at most `_MOST_MEMORY` bytes of additional memory.

    Raises `NotPossible` with *name*, the name of the parsed text, if the block needs more. The
    limit stops texts crafted to make a parser use up to 60 times their size.
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
            f"{name} was refused: parsing it takes more than {most} of memory, more than the "
            "record of any real host"
        ) from None
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def taken_bytes() -> int:
    """Return the size of this process's data segment in bytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
    return pages * resource.getpagesize()


def exists(path: str | Path) -> bool:
    """Whether *path* exists; unlike Path.exists(), this never raises, even for a long path."""
    return os.path.exists(path)  # noqa: PTH110  (a path may be longer than any)


def is_folder(path: str | Path) -> bool:
    """Whether *path* is a folder; like `exists`, this never raises."""
    return os.path.isdir(path)  # noqa: PTH112  (as above)


def is_file(path: str | Path) -> bool:
    """Whether *path* is a regular file; like `exists`, this never raises."""
    return os.path.isfile(path)  # noqa: PTH113  (as above)


def _status(path: str | Path) -> os.stat_result:
    try:
        return os.stat(path)  # noqa: PTH116  (a str costs half as much, and hosts have thousands)
    except ValueError as error:
        raise OSError(errno.EINVAL, "the path contains a NUL character", str(path)) from error


def _require(path: str | Path, status: os.stat_result, most: int) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        why = "the path is not a regular file. Copy the content into a regular file"
        raise OSError(errno.EINVAL, why, str(path))
    if status.st_size > most:
        raise _too_large(most)


def _all(handle: int, most: int) -> bytes:
    # Kernel files have no size, and many return only one page per read.
    parts, size = [], 0
    while part := os.read(handle, min(_CHUNK_BYTES, most + 1 - size)):
        parts.append(part)
        size += len(part)
        if size > most:
            raise _too_large(most)
    return b"".join(parts)


def _too_large(most: int) -> OSError:
    return OSError(errno.EFBIG, f"the file is larger than {most >> 20} MiB")
