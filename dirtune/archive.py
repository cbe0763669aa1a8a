"""Write and read the tar.gz archive of `dirtune snapshot`.

The archive holds one or more samples of a host. A sample is a copy, made at one moment, of the
files that an audit reads.
"""

import gzip
import io
import os
import posixpath
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from dirtune import __version__, writing
from dirtune.errors import NotPossible, ParseError, SourceRefused
from dirtune.formats import from_json
from dirtune.host import WIDEST, RecordedHost, followed, readable
from dirtune.reading import open_regular

# Two samples of a machine with 1,152 CPUs have 50 MB in 170,000 files.
_LARGEST_FILE = 32 << 20
_LARGEST_CONTENT = 64 << 20
_LARGEST_META = 8 << 20
_MOST_HEADERS = 200_000
_MOST_FOLDERS = 100_000
_LONGEST_PATH = 1024
_LARGEST_EXTENSION = 4096
"""Size limit in bytes of a header extension, which holds a path, a link's target and a time."""
_MOST_ROWS = 64
"""The largest number of rows in a header extension; bsdtar writes about 20."""
_LARGEST_PACKED = 256 << 20
_EXTENSIONS = {tarfile.GNUTYPE_LONGNAME: "path", tarfile.GNUTYPE_LONGLINK: "linkpath"}
_BROKEN = (
    *(EOFError, OSError, ValueError),
    *(tarfile.TarError, zlib.error, msgspec.DecodeError),
)
_FILES = frozenset({tarfile.REGTYPE, tarfile.AREGTYPE})
_MEMBER = re.compile(r"(?P<sample>[01])(?P<path>/.+)")


class Sample(msgspec.Struct, frozen=True):
    """The entry for one sample in meta.json. The sample's files are in a folder of the archive."""

    monotonic_s: Annotated[float, msgspec.Meta(ge=0)] | None
    refused: list[str]
    modes: dict[str, Annotated[int, msgspec.Meta(ge=0, le=0o7777)]] = {}
    """Permission bits by path."""
    behind: dict[str, str] = {}
    """For each path that runs through a symbolic link, the real path, at which the file is stored.
    With these paths, tar can unpack files and links into one tree."""


class Meta(msgspec.Struct, frozen=True):
    """The content of the file meta.json in an archive."""

    samples: list[Sample]
    schema: Literal["dirtune/snapshot/1"]
    version: str = ""


def save(samples: Sequence[RecordedHost], path: Path) -> None:
    """Write *samples* into the tar.gz archive *path*.

    Only the owner may read the archive, because it contains texts that only root may read. Raises
    `NotPossible` if the archive cannot be written.
    """
    behind = [_behind(sample) for sample in samples]
    described = [
        Sample(sample.taken_s, sorted(sample.refused), dict(sample.modes), paths)
        for sample, paths in zip(samples, behind, strict=True)
    ]
    meta = msgspec.json.encode(Meta(described, "dirtune/snapshot/1", __version__))
    with (
        writing.beside(path, private=True) as file,
        # The gzip header gets no name and no time: the file's name may contain the host's name.
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        _add(archive, "meta.json", msgspec.json.format(meta, indent=1))
        for number, (sample, paths) in enumerate(zip(samples, behind, strict=True)):
            _add_sample(archive, str(number), sample, paths)


def load(path: Path) -> tuple[RecordedHost, ...]:
    """Read the samples of an archive into memory, without unpacking it to the disk.

    Raises `NotPossible` if the file cannot be read, and `ParseError` if dirtune did not write it
    or if a path or link leads outside the archive.
    """
    try:
        handle = open_regular(path, _LARGEST_PACKED)
    except FileNotFoundError as error:
        raise NotPossible(f"{path}: the file does not exist") from error
    except OSError as error:
        raise NotPossible(f"{path}: {error.strerror}") from error
    try:
        with os.fdopen(handle, "rb") as file, gzip.GzipFile(fileobj=file) as archive:
            return _samples(archive)
    except _Refused as error:
        raise ParseError(str(path), str(error)) from error
    except _BROKEN as error:
        raise ParseError(
            str(path), f"the file is not a dirtune snapshot ({str(error)[:200]})"
        ) from error


class _Refused(Exception):
    """The archive is a tar file, but dirtune did not write it."""


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    kind: bytes
    target: str
    """Target of the symbolic link; empty for a file."""
    content: bytes


def _members(archive: gzip.GzipFile) -> Iterator[_Member]:
    """Yield the members one by one, and check the declared size of each before reading it.

    The module tarfile is used only to decode single headers, because it is unsafe for hostile
    archives: it reads names of up to 2 GB into memory, recurses for each header extension, keeps
    every member, and before Python 3.11.10 takes quadratic time for an extension.
    """
    extended: dict[str, str] = {}
    size = 0
    for block in _headers(archive):
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        extension = header.type in {*_EXTENSIONS, tarfile.XHDTYPE}
        most = _LARGEST_EXTENSION if extension else _LARGEST_FILE
        if not 0 <= header.size <= most:
            raise _Refused(f"{header.name!r} has more than {most:,} bytes")
        _require_room(size + header.size)
        content = archive.read(header.size)
        if len(content) < header.size:
            raise EOFError("the archive is cut off")
        size += header.size * (1 if content.isascii() else WIDEST)
        _require_room(size)
        archive.read(-header.size % tarfile.BLOCKSIZE)
        if extension:
            kind = _EXTENSIONS.get(header.type)
            extended |= {kind: _name(content)} if kind else _pax(content)
            continue
        name = extended.get("path", header.name)
        yield _Member(name, header.type, extended.get("linkpath", header.linkname), content)
        extended = {}


def _require_room(size: int) -> None:
    if size > _LARGEST_CONTENT:
        raise _Refused(
            f"the archive has more than {_LARGEST_CONTENT >> 20} MiB of unpacked content"
        )


def _headers(archive: gzip.GzipFile) -> Iterator[bytes]:
    for _ in range(_MOST_HEADERS):
        block = archive.read(tarfile.BLOCKSIZE)
        if len(block) < tarfile.BLOCKSIZE:
            raise EOFError("the archive is cut off")
        if not any(block):
            return
        yield block
    raise _Refused(f"the archive has more than {_MOST_HEADERS:,} files")


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
            raise _Refused("the archive contains a sparse file or a file of more than 8 GB")
        if key in {b"path", b"linkpath"}:
            names[key.decode()] = _name(value.removesuffix(b"\n"))
    raise _Refused(f"a header extension has more than {_MOST_ROWS} rows")


def _name(content: bytes) -> str:
    return content.rstrip(b"\0").decode("utf-8", "surrogateescape")


def _add_sample(
    archive: tarfile.TarFile, number: str, sample: RecordedHost, behind: Mapping[str, str]
) -> None:
    stored = {behind.get(path, path): text for path, text in sample.files.items()}
    for path, text in stored.items():
        _add(archive, number + path, text.encode("utf-8", "backslashreplace"))
    links = {behind.get(path, path): target for path, target in sample.links.items()}
    for path, target in links.items():
        member = tarfile.TarInfo(number + path)
        member.type, member.linkname = tarfile.SYMTYPE, _within(posixpath.dirname(path), target)
        archive.addfile(member)


def _behind(sample: RecordedHost) -> dict[str, str]:
    """Map each recorded path that runs through a symbolic link to its real path.

    The archive stores files at their real paths. If a recorded path is also the real path of such
    a path, it is mapped to itself.
    """
    paths = (*sample.files, *sample.links)
    folders = {posixpath.dirname(path) for path in paths}
    real = {folder: _real(folder, sample) for folder in folders}
    stored = {
        path: posixpath.join(real[posixpath.dirname(path)], posixpath.basename(path))
        for path in paths
    }
    behind = {path: where for path, where in stored.items() if where != path}
    shared = set(behind.values())
    return behind | {path: path for path in paths if path in shared and path not in behind}


def _real(folder: str, sample: RecordedHost) -> str:
    try:
        return followed(folder, sample.links.get)
    except SourceRefused:  # The links loop or leave the record: no file was read through them.
        return folder


def _within(folder: str, target: str) -> str:
    """Return a link's target, rewritten if it would point outside its sample when unpacked."""
    whole = posixpath.normpath(posixpath.join(f"0{folder}", target))
    if whole.startswith("0/"):
        return target
    return posixpath.relpath(posixpath.normpath(posixpath.join(folder, target)), folder)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _samples(archive: gzip.GzipFile) -> tuple[RecordedHost, ...]:
    meta: Meta | None = None
    files: tuple[dict[str, str], dict[str, str]] = ({}, {})
    links: tuple[dict[str, str], dict[str, str]] = ({}, {})
    for member in _members(archive):
        if member.name == "meta.json" and member.kind in _FILES:
            if len(member.content) > _LARGEST_META:
                raise _Refused(f"meta.json has more than {_LARGEST_META:,} bytes")
            meta = from_json(member.content, Meta)
        elif member.kind != tarfile.DIRTYPE:
            sample, inside = _inside(member)
            if member.kind == tarfile.SYMTYPE:
                links[sample][inside] = member.target
            else:
                files[sample][inside] = readable(member.content)
    recorded = [number for number in (0, 1) if files[number] or links[number]]
    if not recorded:
        raise ValueError("the archive contains no sample")
    return tuple(_sample(meta, number, files[number], links[number]) for number in recorded)


def _sample(
    meta: Meta | None, number: int, files: Mapping[str, str], links: Mapping[str, str]
) -> RecordedHost:
    if meta is None:
        raise ValueError("the archive lacks meta.json")
    if number >= len(meta.samples):
        raise ValueError(f"meta.json does not describe sample {number}")
    described = meta.samples[number]
    files, links = (_recorded(stored, described.behind) for stored in (files, links))
    _require_paths((*files, *links))
    return RecordedHost(
        files, links, frozenset(described.refused), described.monotonic_s, described.modes
    )


def _recorded(stored: Mapping[str, str], behind: Mapping[str, str]) -> dict[str, str]:
    """Return the *stored* texts by the paths at which they were read on the host.

    *behind* maps recorded paths to real paths, as `_behind` returns them.
    """
    moved = set(behind.values())
    plain = {path: content for path, content in stored.items() if path not in moved}
    return plain | {path: stored[real] for path, real in behind.items() if real in stored}


def _require_paths(paths: Iterable[str]) -> None:
    """Raise an error if a path cannot exist on a host, or if there are too many folders."""
    folders: set[str] = set()
    for path in paths:
        if not path.startswith("/") or len(path) > _LONGEST_PATH:
            raise ValueError(f"{path[:60]!r} is not an absolute path, or is too long")
        folder = posixpath.dirname(path)
        while folder not in folders:
            folders.add(folder)
            folder = posixpath.dirname(folder)
        if len(folders) > _MOST_FOLDERS:
            raise _Refused(f"the archive has more than {_MOST_FOLDERS:,} folders")


def _inside(member: _Member) -> tuple[int, str]:
    """Return the number of the member's sample, and the member's path on the host.

    Raises `_Refused` if the path or the link of the member leads outside its sample.
    """
    path = _MEMBER.fullmatch(member.name)
    shown = repr(member.name[:60])
    if not path or posixpath.normpath(path["path"]) != path["path"]:
        raise _Refused(f"{shown} is not a path inside a sample")
    if member.kind not in {*_FILES, tarfile.SYMTYPE}:
        raise _Refused(f"{shown} is neither a file nor a symbolic link")
    if member.kind == tarfile.SYMTYPE:
        folder = posixpath.dirname(member.name)
        target = posixpath.normpath(posixpath.join(folder, member.target))
        if not target.startswith(f"{path['sample']}/"):
            raise _Refused(f"the link {shown} points outside its sample")
    return int(path["sample"]), path["path"]
