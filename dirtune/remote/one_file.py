"""Find the one file of this version, which runs on a host where nothing is installed.

packaging/launcher.c describes the format: an ELF program, a gzip stream of a tar archive, and a
footer. The archive's first member lists the size of every other member.
"""

import gzip
import hashlib
import io
import os
import struct
import sys
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dirtune import __version__, reading
from dirtune.errors import NotPossible, ParseError

NAME = "dirtune-linux-{}"
NAMED = "DIRTUNE_ONE_FILE"
"""The environment variable with the path of a file; the one file sets it to its own path."""
_FOOTER_BYTES = 160
_MAGIC = "dirtune-1"
_MOST_BYTES = 64 << 20
_MACHINES = {"x86_64": 62, "aarch64": 183}
"""The number that an ELF header has for a machine, by the machine's name in uname(2)."""
_CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class OneFile:
    """The one file of this version for one kind of machine."""

    path: Path
    data: bytes
    digest: str
    """SHA-256 in hexadecimal digits."""
    unpacked_bytes: int
    """The size of the tree that the file unpacks when it first runs."""


@cache
def find(machine: str) -> OneFile:
    """Return the one file for *machine*, such as `x86_64`.

    Raises `NotPossible`, with the remedy, if there is none of this version.
    """
    if machine not in _MACHINES:
        raise NotPossible(f"There is no one file for {machine}, which the machine there is.")
    refusals = []
    for path in _places(machine):
        if reading.is_file(path):
            try:
                return _read(path, machine)
            except ParseError as error:
                refusals.append(str(error))
    name = NAME.format(machine)
    why = "; ".join(refusals) or f"there is no {name} here that could be sent"
    raise NotPossible(f"{why}. {_remedy(machine, name)}")


def checkout() -> Path | None:
    """Return the checkout that this dirtune runs from; None if it is installed elsewhere."""
    return _CHECKOUT if reading.is_file(_CHECKOUT / "packaging/build.py") else None


def _places(machine: str) -> Iterator[Path]:
    if named := os.environ.get(NAMED):
        yield Path(named)
    name = NAME.format(machine)
    # A package's tree, or a virtual environment.
    yield from (Path(sys.prefix, name), Path(sys.prefix, "bin", name))
    if built := checkout():
        yield built / "dist" / name


def _remedy(machine: str, name: str) -> str:
    if checkout() and machine == os.uname().machine:
        return "Build it: dirtune dist --self"
    return (
        f"Build it in a checkout of dirtune {__version__} on such a machine with "
        f"`dirtune dist --self`, and copy it to {Path(sys.prefix, name)}"
    )


def _read(path: Path, machine: str) -> OneFile:
    """Return the file at *path*. Raises `ParseError` if it cannot be used."""
    try:
        data = reading.read_bytes(path, _MOST_BYTES)
    except OSError as error:
        raise ParseError(str(path), f"the file cannot be read ({error.strerror})") from error
    words = data[-_FOOTER_BYTES:].decode("ascii", "replace").split()
    if data[:4] != b"\x7fELF" or len(words) < 3 or words[0] != _MAGIC or not words[1].isdigit():
        raise ParseError(str(path), "the file is not a complete one file of dirtune")
    if struct.unpack_from("<H", data, 18)[0] != _MACHINES[machine]:
        raise ParseError(str(path), f"the file is not for {machine}")
    version = words[2].rpartition("-")[0]
    if version != __version__:
        raise ParseError(str(path), f"the file has version {version}, not {__version__}")
    if _older_than_checkout(path):
        raise ParseError(str(path), "the file is older than this checkout")
    try:
        unpacked = _unpacked(data[-_FOOTER_BYTES - int(words[1]) : -_FOOTER_BYTES])
    except (OSError, EOFError, ValueError, tarfile.TarError, zlib.error) as error:
        raise ParseError(str(path), "the file is damaged") from error
    return OneFile(path, data, hashlib.sha256(data).hexdigest(), unpacked)


def _older_than_checkout(path: Path) -> bool:
    built = checkout()
    if built is None or path.parent != built / "dist":
        return False
    made_s = path.stat().st_mtime
    return any(source.stat().st_mtime > made_s for source in built.glob("dirtune/**/*.py"))


def _unpacked(stream: bytes) -> int:
    with tarfile.open(fileobj=gzip.GzipFile(fileobj=io.BytesIO(stream)), mode="r:") as archive:
        manifest = archive.next()
        assert manifest is not None
        text = archive.extractfile(manifest)
        assert text is not None
        return sum(int(row.split()[0]) for row in text)
