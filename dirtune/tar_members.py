"""Read the members of a tar archive from a stream, within limits of bytes and members.

The module tarfile is used only to decode single headers, because it is unsafe for hostile
archives: it reads names of up to 2 GB into memory, recurses for each header extension, keeps every
member, and before Python 3.11.10 takes quadratic time for an extension.
"""

import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from dirtune.host import WIDEST

FILES = frozenset({tarfile.REGTYPE, tarfile.AREGTYPE})
"""Types of regular files in a header."""
_LARGEST_EXTENSION = 4096
"""Size limit in bytes of a header extension, which holds a path, a link's target and a time."""
_MOST_ROWS = 64
"""The largest number of rows in a header extension; bsdtar writes about 20."""
_EXTENSIONS = {tarfile.GNUTYPE_LONGNAME: "path", tarfile.GNUTYPE_LONGLINK: "linkpath"}
_CHUNK = 1 << 20


class Refused(Exception):
    """The archive is a tar file, but it exceeds a limit or has a member that dirtune refuses."""


class Stream(Protocol):
    """The unpacked bytes of an archive."""

    def read(self, size: int, /) -> bytes:
        """Return the next *size* bytes; fewer only at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one archive."""

    file: int
    """Bytes of one member that is kept."""
    content: int
    """Bytes of all members that are kept, as text in memory."""
    members: int = 200_000


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an archive."""

    name: str
    kind: bytes
    target: str
    """Target of the symbolic link; empty for a file."""
    content: bytes


def members(
    archive: Stream, limits: Limits, keep: Callable[[str, int], bool] = lambda *_: True
) -> Iterator[Member]:
    """Yield the members one by one, and check the declared size of each before reading it.

    A member is left out if *keep*, a function of its name and its size in bytes, refuses it.
    Raises `Refused` if the archive exceeds a limit, and `EOFError` if it is cut off.
    """
    extended: dict[str, str] = {}
    size = 0
    for block in _headers(archive, limits):
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        extension = header.type in {*_EXTENSIONS, tarfile.XHDTYPE}
        name = extended.get("path", header.name)
        if header.size >= 0 and not extension and not keep(name, header.size):
            _skip(archive, header.size)
            extended = {}
            continue
        most = _LARGEST_EXTENSION if extension else limits.file
        if not 0 <= header.size <= most:
            raise Refused(f"{name[:60]!r} has more than {most:,} bytes")
        _require_room(size + header.size, limits)
        content = archive.read(header.size)
        if len(content) < header.size:
            raise EOFError("the archive is cut off")
        size += header.size * (1 if content.isascii() else WIDEST)
        _require_room(size, limits)
        archive.read(-header.size % tarfile.BLOCKSIZE)
        if extension:
            kind = _EXTENSIONS.get(header.type)
            extended |= {kind: _name(content)} if kind else _pax(content)
            continue
        yield Member(name, header.type, extended.get("linkpath", header.linkname), content)
        extended = {}


def _skip(archive: Stream, size: int) -> None:
    left = size + -size % tarfile.BLOCKSIZE
    while left:
        part = archive.read(min(left, _CHUNK))
        if not part:
            raise EOFError("the archive is cut off")
        left -= len(part)


def _require_room(size: int, limits: Limits) -> None:
    if size > limits.content:
        raise Refused(f"the archive has more than {limits.content >> 20} MiB of unpacked content")


def _headers(archive: Stream, limits: Limits) -> Iterator[bytes]:
    for _ in range(limits.members):
        block = archive.read(tarfile.BLOCKSIZE)
        if len(block) < tarfile.BLOCKSIZE:
            raise EOFError("the archive is cut off")
        if not any(block):
            return
        yield block
    raise Refused(f"the archive has more than {limits.members:,} files")


def _pax(content: bytes) -> dict[str, str]:
    """Return the names in a POSIX header extension, whose rows are `LENGTH KEY=VALUE`."""
    names: dict[str, str] = {}
    for _ in range(_MOST_ROWS):
        if not content:
            return names
        length = int(content[: content.index(b" ")])
        row, content = content[:length], content[max(length, 1) :]
        key, _, value = row.partition(b" ")[2].partition(b"=")
        if key.startswith(b"GNU.sparse") or key == b"size":
            raise Refused("the archive contains a sparse file or a file of more than 8 GB")
        if key in {b"path", b"linkpath"}:
            names[key.decode()] = _name(value.removesuffix(b"\n"))
    raise Refused(f"a header extension has more than {_MOST_ROWS} rows")


def _name(content: bytes) -> str:
    return content.rstrip(b"\0").decode("utf-8", "surrogateescape")
