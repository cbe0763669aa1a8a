"""Read the tar archive of a report into memory, without unpacking it to the disk.

Only files that an audit can read are kept, so a report of gigabytes of logs takes little memory.
"""

import bz2
import gzip
import io
import lzma
import os
import posixpath
import re
import tarfile
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from dirtune.errors import NotPossible, ParseError
from dirtune.host import LinkedHost, readable, recorded_text
from dirtune.reading import open_regular
from dirtune.snapshot import patterns_of
from dirtune.tar_members import FILES, Limits, Member, Refused, Stream, members

_LARGEST_PACKED = 2 << 30
_LARGEST_UNPACKED = 8 << 30
_LONGEST_S = 180
_LARGEST_FILE = 32 << 20
_LIMITS = Limits(_LARGEST_FILE, 96 << 20, members=300_000)
_MOST_KEPT = 200_000
_LONGEST_PATH = 1024
_XZ_MEMORY = 128 << 20
_CHUNK = 1 << 18
_TOPS = ("proc", "sys", "etc", "usr", "lib", "run", "var", "sos_commands", "insights_commands")
_PATH = re.compile(rf"(?P<root>(?:[^/]+/){{0,4}}?)(?P<path>(?:{'|'.join(_TOPS)})(?:/.*)?)")
_COMMANDS = re.compile(
    r"/(?:sos_commands/[^/]+|insights_commands)/(?:ethtool|ip_|ipvsadm|tc_-s_qdisc|nft|iptables|"
    r"lspci|lscpu|lsmod|uname|sysctl|dmesg|journalctl_--no-pager_--(?:catalog_--)?boot|ps_|udevadm)"
    r"[^/]*|/var/log/dmesg"
)
_LAST = frozenset(
    pattern.rsplit("/", 1)[1] for pattern in patterns_of() if pattern.startswith("/sys/")
) - {"*"}
_BROKEN = (EOFError, OSError, ValueError, lzma.LZMAError, tarfile.TarError, zlib.error)


def wanted(patterns: Sequence[str]) -> re.Pattern[str]:
    """Return a pattern of the paths that the shell *patterns* match, and of useful outputs."""
    return re.compile("|".join((*map(_regular, patterns), _COMMANDS.pattern)))


def _regular(shell: str) -> str:
    """Return a shell pattern as a regular expression; `*` does not match a slash."""
    parts = re.split(r"(\*|\[[^]]+\])", shell)
    return "".join(
        "[^/]*" if part == "*" else part if part.startswith("[") else re.escape(part)
        for part in parts
    )


_WANTED = wanted(patterns_of())
_SYS_LAST = wanted([f"/sys/{name}" for name in _LAST])


def load(path: Path) -> LinkedHost:
    """Return the tree in the tar archive *path*, which may be packed by gzip, xz or bzip2.

    Raises `NotPossible` if the file cannot be read, and `ParseError` if the archive exceeds a
    limit or contains nothing of a host.
    """
    try:
        handle = open_regular(path, _LARGEST_PACKED)
    except FileNotFoundError as error:
        raise NotPossible(f"{path}: the file does not exist") from error
    except OSError as error:
        raise NotPossible(f"{path}: {error.strerror}") from error
    try:
        with os.fdopen(handle, "rb") as file:
            return _tree(_Bounded(_unpacked(file)))
    except Refused as error:
        raise ParseError(str(path), str(error)) from error
    except _BROKEN as error:
        why = f"the file is not a complete tar archive ({str(error)[:200]})"
        raise ParseError(str(path), why) from error


def first_name(path: Path) -> str | None:
    """Return the name of the first member of the archive *path*; None if it is not an archive."""
    try:
        with os.fdopen(open_regular(path, _LARGEST_PACKED), "rb") as file:
            block = _Bounded(_unpacked(file)).read(tarfile.BLOCKSIZE)
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape").name
    except _BROKEN:
        return None


class _Bounded:
    """The unpacked bytes, within limits of their number and of the time for them."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._left = _LARGEST_UNPACKED
        self._end = time.monotonic() + _LONGEST_S

    def read(self, size: int, /) -> bytes:
        """Return the next *size* bytes."""
        part = self._stream.read(size)
        self._left -= len(part)
        if self._left < 0:
            raise Refused(f"the archive has more than {_LARGEST_UNPACKED >> 30} GiB of content")
        if time.monotonic() > self._end:
            raise Refused(f"unpacking the archive takes more than {_LONGEST_S} s")
        return part


class _Xz(io.RawIOBase):
    """The unpacked bytes of an xz file; the module lzma's own file has no limit of memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decoder = self._new()

    @staticmethod
    def _new() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_AUTO, memlimit=_XZ_MEMORY)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview", /) -> int:  # type: ignore[override]
        while True:
            if self._decoder.eof:
                rest = (self._decoder.unused_data or self._file.read(_CHUNK)).lstrip(b"\0")
                if not rest:
                    return 0
                self._decoder = self._new()
            else:
                rest = self._file.read(_CHUNK) if self._decoder.needs_input else b""
                if not rest and self._decoder.needs_input:
                    raise EOFError("the archive is cut off")
            part = self._decoder.decompress(rest, len(buffer))
            if part:
                buffer[: len(part)] = part
                return len(part)


def _unpacked(file: IO[bytes]) -> Stream:
    magic = file.read(6)
    file.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)
    if magic.startswith(b"BZh"):
        return bz2.BZ2File(file)
    if magic == b"\xfd7zXZ\0":
        return io.BufferedReader(_Xz(file), _CHUNK)
    if magic.startswith(b"\x28\xb5\x2f\xfd"):
        raise Refused("the archive is packed by zstd. Unpack it first: zstd -d")
    return file


def _tree(stream: Stream) -> LinkedHost:
    kept: dict[tuple[str, str], Member] = {}
    large: set[tuple[str, str]] = set()
    nested = 0

    def keep(name: str, size: int) -> bool:
        nonlocal nested
        nested += name.endswith((".tar.xz", ".tar.gz")) and "sosreport" in name
        place = _placed(name)
        if place is None or not (size == 0 or _useful(place[1])):
            return False
        if size > _LARGEST_FILE:
            large.add(place)
            return False
        return True

    for member in members(stream, _LIMITS, keep):
        place = _placed(member.name)
        link = member.kind == tarfile.SYMTYPE
        if place and (link or (member.kind in FILES and _useful(place[1]))):
            kept[place] = member
        if len(kept) > _MOST_KEPT:
            raise Refused(f"the archive has more than {_MOST_KEPT:,} files of /proc and /sys")
    files = [place for place, member in kept.items() if member.kind in FILES]
    if not files:
        raise Refused(_nothing(nested))
    # An archive may hold other trees inside, such as those of containers; they have fewer files.
    root = Counter(root for root, _ in files).most_common(1)[0][0]
    return LinkedHost(
        {
            recorded_text(path): recorded_text(readable(member.content))
            for (at, path), member in kept.items()
            if at == root and member.kind in FILES
        },
        {
            recorded_text(path): recorded_text(member.target)
            for (at, path), member in kept.items()
            if at == root and member.kind == tarfile.SYMTYPE
        },
        frozenset(path for at, path in large if at == root),
    )


def _nothing(nested: int) -> str:
    if nested:
        return f"the archive holds {nested} other reports. Unpack it, and give one of them"
    return "the archive has no folder proc, sys or sos_commands, so it is not a report of a host"


def _placed(name: str) -> tuple[str, str] | None:
    """Return the folder of the host's tree in the archive, and the path on the host."""
    name = name.removeprefix("./").rstrip("/")
    if (
        len(name) > _LONGEST_PATH
        or name != posixpath.normpath(name)
        or name.startswith(("/", ".."))
    ):
        return None
    found = _PATH.fullmatch(name)
    return (found["root"], f"/{found['path']}") if found else None


def _useful(path: str) -> bool:
    if _WANTED.fullmatch(path) or path.startswith(("/proc/self/", "/proc/net/")):
        return True
    if path.startswith("/sys/devices/"):
        return _SYS_LAST.fullmatch(f"/sys/{path.rsplit('/', 1)[1]}") is not None
    # /proc/self is a link to the process of sos, whose folder holds /proc/net.
    return re.fullmatch(r"/proc/\d+/(?:net/.*|limits|mountinfo)", path) is not None
