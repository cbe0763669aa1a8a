"""Samples of a host kept in one file: the tar.gz of `dirtune snapshot`."""

import io
import posixpath
import re
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from dirtune import __version__
from dirtune.errors import NotPossible, ParseError, SourceRefused
from dirtune.host import RecordedHost, followed

# A 1152-CPU machine's /proc/interrupts is 14 MB; two samples and the rest stay well below.
_LARGEST_ARCHIVE = 256 << 20
_MEMBER = re.compile(r"(?P<sample>[01])(?P<path>/.+)")


class Sample(msgspec.Struct, frozen=True):
    """One sample: a folder of the archive."""

    monotonic_s: Annotated[float, msgspec.Meta(ge=0)] | None
    refused: list[str]
    modes: dict[str, Annotated[int, msgspec.Meta(ge=0, le=0o7777)]] = {}
    """Permission bits by path."""
    behind: dict[str, str] = {}
    """Where the content of a file is whose path leads over links of the sample, by that path:
    unpacked, the archive is a tree that tar can write and that has every path."""


class Meta(msgspec.Struct, frozen=True):
    """meta.json of an archive."""

    samples: list[Sample]
    schema: Literal["dirtune/snapshot/1"]
    version: str = ""


def save(samples: Sequence[RecordedHost], path: Path) -> None:
    """Write *samples* into one tar.gz; `NotPossible` if the file cannot be written."""
    behind = [_behind(sample) for sample in samples]
    said = [
        Sample(sample.taken_s, sorted(sample.refused), dict(sample.modes), paths)
        for sample, paths in zip(samples, behind, strict=True)
    ]
    meta = msgspec.json.encode(Meta(said, "dirtune/snapshot/1", __version__))
    try:
        with tarfile.open(path, "w:gz") as archive:
            _add(archive, "meta.json", msgspec.json.format(meta, indent=1))
            for number, (sample, paths) in enumerate(zip(samples, behind, strict=True)):
                _add_sample(archive, str(number), sample, paths)
    except OSError as error:
        raise NotPossible(f"{path}: {error.strerror}") from error


def load(path: Path) -> tuple[RecordedHost, ...]:
    """Read the samples of an archive into memory; nothing is unpacked.

    `ParseError` if it is no archive of ours, or has a path or a link that leads out of it.
    """
    try:
        with tarfile.open(path, "r:gz") as archive:
            return _samples(path, archive)
    except FileNotFoundError as error:
        raise NotPossible(f"{path}: no such file") from error
    except (OSError, EOFError, tarfile.TarError, ValueError) as error:
        raise ParseError(str(path), f"not a dirtune snapshot ({error})") from error


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
    """Return where each file and link is stored whose path leads over a link of the sample.

    Where such a place is a recorded path as well, it is there as itself.
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
    except SourceRefused:  # a circle, or out of the record: nothing was read through it
        return folder


def _within(folder: str, target: str) -> str:
    """Return a link's target so that it stays in its sample: absolute ones lead out of it."""
    whole = posixpath.normpath(posixpath.join(f"0{folder}", target))
    if whole.startswith("0/"):
        return target
    return posixpath.relpath(posixpath.normpath(posixpath.join(folder, target)), folder)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _samples(path: Path, archive: tarfile.TarFile) -> tuple[RecordedHost, ...]:
    meta: Meta | None = None
    files: tuple[dict[str, str], dict[str, str]] = ({}, {})
    links: tuple[dict[str, str], dict[str, str]] = ({}, {})
    size = 0
    for member in archive:
        size += member.size
        if size > _LARGEST_ARCHIVE:
            raise ParseError(str(path), f"more than {_LARGEST_ARCHIVE >> 20} MiB unpacked")
        if member.name == "meta.json":
            meta = msgspec.json.decode(_text(archive, member), type=Meta)
        elif not member.isdir():
            sample, inside = _inside(path, member)
            if member.issym():
                links[sample][inside] = member.linkname
            else:
                files[sample][inside] = _text(archive, member)
    return tuple(_sample(meta, n, files[n], links[n]) for n in (0, 1) if files[n] or links[n])


def _sample(
    meta: Meta | None, number: int, files: Mapping[str, str], links: Mapping[str, str]
) -> RecordedHost:
    if meta is None:
        raise ValueError("no meta.json in it")
    if number >= len(meta.samples):
        raise ValueError(f"meta.json does not tell of sample {number}")
    said = meta.samples[number]
    files, links = (_recorded(stored, said.behind) for stored in (files, links))
    return RecordedHost(files, links, frozenset(said.refused), said.monotonic_s, said.modes)


def _recorded(stored: Mapping[str, str], behind: Mapping[str, str]) -> dict[str, str]:
    """Return what is *stored* by the paths that it was read by."""
    moved = set(behind.values())
    plain = {path: content for path, content in stored.items() if path not in moved}
    return plain | {path: stored[real] for path, real in behind.items() if real in stored}


def _inside(path: Path, member: tarfile.TarInfo) -> tuple[int, str]:
    """Return (sample, path on its host) of a member that stays inside its sample."""
    found = _MEMBER.fullmatch(member.name)
    if not found or posixpath.normpath(found["path"]) != found["path"]:
        raise ParseError(str(path), f"{member.name!r} is not a path inside a sample")
    if not (member.isfile() or member.issym()):
        raise ParseError(str(path), f"{member.name!r} is neither a file nor a symbolic link")
    if member.issym():
        folder = posixpath.dirname(member.name)
        target = posixpath.normpath(posixpath.join(folder, member.linkname))
        if not target.startswith(f"{found['sample']}/"):
            raise ParseError(str(path), f"the link {member.name!r} leads out of its sample")
    return int(found["sample"]), found["path"]


def _text(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    file = archive.extractfile(member)
    if file is None:
        raise ValueError(f"{member.name} has no content")
    return file.read().decode("utf-8", "backslashreplace")
