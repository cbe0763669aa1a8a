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
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from dirtune import __version__, writing
from dirtune.errors import NotPossible, ParseError, SourceRefused
from dirtune.formats import from_json
from dirtune.host import RecordedHost, followed, readable
from dirtune.reading import open_regular
from dirtune.tar_members import FILES, Limits, Member, Refused, members

# Two samples of a machine with 1,152 CPUs have 50 MB in 170,000 files. Two samples of a director
# with 50,000 services and 100,000 destinations have 90 MB, mostly the answers of netlink.
_LARGEST_FILE = 64 << 20
_LARGEST_CONTENT = 128 << 20
_LARGEST_META = 8 << 20
_MOST_FOLDERS = 100_000
_LONGEST_PATH = 1024
_LARGEST_PACKED = 256 << 20
_BROKEN = (
    *(EOFError, OSError, ValueError),
    *(tarfile.TarError, zlib.error, msgspec.DecodeError),
)
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
    except Refused as error:
        raise ParseError(str(path), str(error)) from error
    except _BROKEN as error:
        raise ParseError(
            str(path), f"the file is not a dirtune snapshot ({str(error)[:200]})"
        ) from error


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
    for member in members(archive, Limits(_LARGEST_FILE, _LARGEST_CONTENT)):
        if member.name == "meta.json" and member.kind in FILES:
            if len(member.content) > _LARGEST_META:
                raise Refused(f"meta.json has more than {_LARGEST_META:,} bytes")
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
            raise Refused(f"the archive has more than {_MOST_FOLDERS:,} folders")


def _inside(member: Member) -> tuple[int, str]:
    """Return the number of the member's sample, and the member's path on the host.

    Raises `Refused` if the path or the link of the member leads outside its sample.
    """
    path = _MEMBER.fullmatch(member.name)
    shown = repr(member.name[:60])
    if not path or posixpath.normpath(path["path"]) != path["path"]:
        raise Refused(f"{shown} is not a path inside a sample")
    if member.kind not in {*FILES, tarfile.SYMTYPE}:
        raise Refused(f"{shown} is neither a file nor a symbolic link")
    if member.kind == tarfile.SYMTYPE:
        folder = posixpath.dirname(member.name)
        target = posixpath.normpath(posixpath.join(folder, member.target))
        if not target.startswith(f"{path['sample']}/"):
            raise Refused(f"the link {shown} points outside its sample")
    return int(path["sample"]), path["path"]
