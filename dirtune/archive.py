"""Samples of a host kept in one file: the tar.gz of `dirtune snapshot`."""

import io
import json
import posixpath
import re
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, TypedDict

from dirtune import __version__
from dirtune.errors import NotPossible, ParseError
from dirtune.host import RecordedHost

_SCHEMA: Final = "dirtune/snapshot/1"
# A 1152-CPU machine's /proc/interrupts is 14 MB; two samples and the rest stay well below.
_LARGEST_ARCHIVE = 256 << 20
_MEMBER = re.compile(r"(?P<sample>[01])(?P<path>/.+)")


class Sample(TypedDict):
    """One sample: a folder of the archive."""

    monotonic_s: float | None
    refused: list[str]
    modes: dict[str, int]


class Meta(TypedDict):
    """meta.json of an archive."""

    schema: Literal["dirtune/snapshot/1"]
    version: str
    samples: list[Sample]


def save(samples: Sequence[RecordedHost], path: Path) -> None:
    """Write *samples* into one tar.gz; `NotPossible` if the file cannot be written."""
    meta: Meta = {
        "schema": _SCHEMA,
        "version": __version__,
        "samples": [
            {
                "monotonic_s": sample.taken_s,
                "refused": sorted(sample.refused),
                "modes": dict(sample.modes),
            }
            for sample in samples
        ],
    }
    try:
        with tarfile.open(path, "w:gz") as archive:
            _add_text(archive, "meta.json", json.dumps(meta, indent=1))
            for number, sample in enumerate(samples):
                _add_sample(archive, str(number), sample)
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
    except (OSError, EOFError, tarfile.TarError, ValueError, KeyError, TypeError) as error:
        raise ParseError(str(path), f"not a dirtune snapshot ({error})") from error


def _add_sample(archive: tarfile.TarFile, number: str, sample: RecordedHost) -> None:
    for path, text in sample.files.items():
        _add_text(archive, number + path, text)
    for path, target in sample.links.items():
        member = tarfile.TarInfo(number + path)
        member.type, member.linkname = tarfile.SYMTYPE, target
        archive.addfile(member)


def _add_text(archive: tarfile.TarFile, name: str, text: str) -> None:
    content = text.encode("utf-8", "backslashreplace")
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _samples(path: Path, archive: tarfile.TarFile) -> tuple[RecordedHost, ...]:
    meta: dict[str, object] = {}
    files: tuple[dict[str, str], dict[str, str]] = ({}, {})
    links: tuple[dict[str, str], dict[str, str]] = ({}, {})
    size = 0
    for member in archive:
        size += member.size
        if size > _LARGEST_ARCHIVE:
            raise ParseError(str(path), f"more than {_LARGEST_ARCHIVE >> 20} MiB unpacked")
        if member.name == "meta.json":
            meta = json.loads(_text(archive, member))
        elif not member.isdir():
            sample, inside = _inside(path, member)
            if member.issym():
                links[sample][inside] = member.linkname
            else:
                files[sample][inside] = _text(archive, member)
    return tuple(_sample(meta, n, files[n], links[n]) for n in (0, 1) if files[n] or links[n])


def _sample(
    meta: Mapping[str, object], number: int, files: Mapping[str, str], links: Mapping[str, str]
) -> RecordedHost:
    if meta.get("schema") != _SCHEMA:
        raise ValueError("no meta.json of this schema before the samples")
    samples = meta["samples"]
    assert isinstance(samples, list)
    said = samples[number]
    refused, modes = frozenset(said["refused"]), said.get("modes", {})
    return RecordedHost(files, links, refused, said["monotonic_s"], modes)


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
