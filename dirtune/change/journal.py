"""Journals in /var/lib/dirtune: they record changes to this host, to roll them back.

Each apply has its own journal: a file with one JSON record per line. A record is on the disk
before dirtune makes the change that it announces. Only the last record can be incomplete, after a
power cut, and then its change was not made.

A file's name begins with the journal's number. Journals are undone in the order of these numbers,
not of their times, because clocks can be set back. Each line has a checksum; a damaged journal is
never rolled back.
"""

import os
import re
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

import msgspec

from dirtune import locking, writing
from dirtune.change import chain, private
from dirtune.change.record import (
    SCHEMA,
    Begun,
    Confirmed,
    Entry,
    Planned,
    Record,
    RolledBack,
    State,
)
from dirtune.errors import DirtuneError, NotPossible, ParseError
from dirtune.formats import foreign
from dirtune.signals import unstoppable

_UNSEALED = "dirtune/journal/1"
"""The schema of older journals, which have no checksums and are named by their time."""
_UNSEALED_END = b'"schema":"%s"}' % _UNSEALED.encode()
_ENDING = ".journal"
_BEGINNING = b'{"record":"planned",'
_NUMBER = re.compile(r"(?P<number>\d+)-")
_LARGEST_BYTES = 64 << 20
"""The limit of a journal's size: the plan may fill half of it, the saved states the rest."""
_ENDING_BYTES = 4 << 20
"""The part of the limit that is reserved for records that follow the changes."""


_DECODER: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


@dataclass(frozen=True, slots=True)
class Survey:
    """The open journals of a folder, and the journals that cannot be read."""

    unfinished: tuple[Path, ...]
    """Journals that are neither confirmed nor rolled back."""
    unreadable: tuple[str, ...]
    """For each unreadable journal, the reason and the remedy."""


def boot_clock_s() -> float:
    """Return the seconds since boot, including the time that the machine was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def path_of(folder: Path, name: str) -> Path:
    """Return the file of the journal called *name*."""
    return folder / f"{name.removesuffix(_ENDING)}{_ENDING}"


def next_name(folder: Path, stamp: str) -> str:
    """Return the name of a new journal, which sorts last; the caller must hold the lock."""
    # One that was moved away as damaged may come back, and must not share its number then.
    last = max((_order(Path(name))[0] for name in _names(folder)), default=0)
    return f"{last + 1:06d}-{stamp}"


def is_later(name: str, than: str) -> bool:
    """Whether the journal *name* was begun after the journal *than*."""
    return _order(Path(name)) > _order(Path(than))


def create(path: Path, planned: Planned) -> None:
    """Begin a journal; raises `NotPossible` if it cannot be written."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    line = chain.sealed(_encoded(path, planned), None)
    if len(line) > _LARGEST_BYTES // 2:
        raise NotPossible(
            f"{path}: the plan is larger than {_LARGEST_BYTES >> 21} MiB. Apply the plan in parts."
        )
    try:
        with private.folder(path.parent, make=True) as folder:
            with os.fdopen(private.opened(folder, path, flags), "wb") as file, _gone_if_torn(path):
                _put(file.fileno(), line)
            writing.sync(folder)
    except OSError as error:
        raise NotPossible(
            f"{path}: {error.strerror}. Without a journal, dirtune changes nothing."
        ) from error


def append(path: Path, record: Record) -> None:
    """Add *record* to the journal *path*, and return once the record is on the disk.

    Raises `NotPossible` if the disk is full, for example; the journal is unchanged then.
    """
    try:
        with _opened(path, os.O_RDWR) as file:
            lines = _whole(path, file)
            if not lines:
                raise NotPossible(
                    f"{path}: the journal does not begin with a plan, so dirtune adds nothing."
                )
            line = _encoded(path, record)
            if not lines[0].endswith(_UNSEALED_END):
                line = chain.sealed(line, lines[-1])
            # The next record must not be appended to a torn one.
            end = sum(len(whole) + 1 for whole in lines)
            if isinstance(record, Begun) and end + len(line) > _LARGEST_BYTES - _ENDING_BYTES:
                raise NotPossible(
                    f"{path}: the plan and the files that it replaces are larger than "
                    f"{_LARGEST_BYTES >> 20} MiB. Apply the plan in parts."
                )
            file.seek(end)
            file.truncate()
            try:
                _put(file.fileno(), line)
            except OSError:
                file.truncate(end)
                raise
    except OSError as error:
        raise NotPossible(f"{path}: {error.strerror}") from error
    except chain.DamagedError as error:
        raise _damaged(path, f"the last line: {error}") from error


def load(path: Path) -> Entry:
    """Read one journal; raises `ParseError` with the number of a damaged line."""
    bodies = _bodies(path, _lines(path))
    records = tuple(_record(path, number, body) for number, body in enumerate(bodies, 1))
    if not records or not isinstance(records[0], Planned):
        raise ParseError(
            str(path), "the journal does not begin with a plan, so dirtune changed nothing"
        )
    planned = records[0]
    if planned.journal != path.stem:
        raise ParseError(
            str(path), f"this is a copy of the journal {planned.journal}. Remove the copy."
        )
    count = len(planned.changes)
    if not all(0 <= step.index < count for step in records[1:] if isinstance(step, Begun)):
        raise _damaged(
            path,
            f"a record has the number of a change that the plan lacks (it has {count} changes)",
        )
    return Entry(planned, records[1:])


def paths(folder: Path) -> tuple[Path, ...]:
    """Return every journal, readable or not, in the order in which they were begun.

    A journal with an incomplete first record is left out, because dirtune makes no change before
    this record is on the disk.
    """
    return tuple(path for path in _all(folder) if _may_have_begun(path))


def begun(path: Path) -> bool:
    """Whether the journal *path* has a complete plan; dirtune makes no change before that."""
    return bool(_lines(path))


def find(folder: Path, name: str | None) -> Path:
    """Return the journal *name*, or the last one; raises `NotPossible` if there is none."""
    known = paths(folder)
    if name is None:
        if not known:
            raise NotPossible(
                f"{folder} holds no journal, so dirtune has changed nothing on this host."
            )
        return known[-1]
    path = path_of(folder, name)
    if path not in known:
        last = f"The last one is {known[-1].stem}." if known else "It holds no journals."
        raise NotPossible(f"{folder} holds no journal {name}. {last}")
    return path


def entries(folder: Path) -> tuple[Entry, ...]:
    """Return every readable journal, in the order in which they were begun."""
    readable = []
    for path in paths(folder):
        with suppress(DirtuneError):  # `survey` names it
            readable.append(load(path))
    return tuple(readable)


def survey(folder: Path) -> Survey:
    """Return which journals of *folder* are open, and which cannot be read."""
    unfinished, unreadable = [], []
    for path in paths(folder):
        try:
            if not _settled(path):
                unfinished.append(path)
        except DirtuneError as error:
            unreadable.append(str(error))
    return Survey(tuple(unfinished), tuple(unreadable))


def unfinished(folder: Path) -> tuple[Path, ...]:
    """Return the readable journals that are neither confirmed nor rolled back."""
    return survey(folder).unfinished


@contextmanager
def lock(folder: Path, *, wait_s: float = 2) -> Iterator[None]:
    """Hold the lock that keeps every other dirtune from changing this host.

    Raises `NotPossible`, with the process that holds the lock, after *wait_s* seconds.
    """
    try:
        with private.folder(folder, make=True) as descriptor:
            file = _opened_lock(descriptor, folder, os.O_CREAT)
    except OSError as error:
        raise NotPossible(
            f"{folder}: {error.strerror}. Changes need root. Run dirtune with sudo."
        ) from error
    with unstoppable(), file:
        if not locking.take(file, wait_s=wait_s):
            owner = file.read().strip() or "unknown"
            raise NotPossible(f"Process {owner} is changing this host. Wait for it to end.")
        # A full disk leaves the lock without a number: changes must be undone there, too.
        with suppress(OSError):
            os.ftruncate(file.fileno(), 0)
            os.pwrite(file.fileno(), f"{os.getpid()}\n".encode(), 0)
        yield


def locked(folder: Path) -> bool:
    """Whether a dirtune process is changing this host now; only root can find out."""
    try:
        with private.folder(folder) as descriptor, _opened_lock(descriptor, folder, 0) as file:
            return locking.is_taken(file)
    except (OSError, NotPossible):
        return False


def _opened_lock(within: int, folder: Path, create: int) -> TextIO:
    # No other user may open the file, because reading it is enough to hold a lock on it.
    return os.fdopen(private.opened(within, folder / "lock", os.O_RDWR | create), "r+")


def _order(path: Path) -> tuple[int, str]:
    """Return the sort key of a journal; journals without a number come first."""
    match = _NUMBER.match(path.name)
    return (int(match["number"]) if match else 0, path.name)


def _all(folder: Path) -> list[Path]:
    names = (name for name in _names(folder) if name.endswith(_ENDING))
    return sorted((folder / name for name in names), key=_order)


def _names(folder: Path) -> list[str]:
    try:
        with private.folder(folder) as descriptor:
            return os.listdir(descriptor)  # noqa: PTH208  (it has no path)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise NotPossible(f"{folder}: {error.strerror}") from error


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[BinaryIO]:
    with private.folder(path.parent) as folder:
        descriptor = private.opened(folder, path, flags)
    with os.fdopen(descriptor, "r+b" if flags & os.O_RDWR else "rb") as file:
        yield file


def _lines(path: Path) -> list[bytes]:
    """Return the complete lines of a journal; none if the file does not exist."""
    try:
        with _opened(path, os.O_RDONLY) as file:
            return _whole(path, file)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise NotPossible(f"{path}: {error.strerror}") from error


def _whole(path: Path, file: BinaryIO) -> list[bytes]:
    """Return the lines of *file* that end with a newline; a torn last line is left out."""
    if os.fstat(file.fileno()).st_size > _LARGEST_BYTES:
        raise _damaged(path, f"the file is larger than {_LARGEST_BYTES >> 20} MiB")
    *lines, torn = file.read().split(b"\n")
    if not lines and not _BEGINNING.startswith(torn[: len(_BEGINNING)]):
        raise _damaged(
            path, "no line is complete"
        )  # and the file is longer than the torn record that a power cut leaves
    return lines


def _bodies(path: Path, lines: list[bytes]) -> list[bytes]:
    """Return the records in *lines* as JSON; raises `ParseError` if a line was altered."""
    if not lines:
        return []
    try:
        problem = foreign(lines[0], (_UNSEALED, SCHEMA))
    except (msgspec.DecodeError, RecursionError) as error:
        raise _damaged(path, f"line 1: {error}") from error
    if problem:
        raise ParseError(str(path), problem)
    if lines[0].endswith(_UNSEALED_END):
        return lines
    bodies: list[bytes] = []
    try:
        bodies.extend(chain.unsealed(lines))
    except chain.DamagedError as error:
        raise _damaged(path, f"line {len(bodies) + 1}: {error}") from error
    return bodies


def _damaged(path: Path, what: str) -> ParseError:
    quoted = shlex.quote(str(path))
    return ParseError(
        str(path),
        f"the journal is damaged ({what}), so its changes are unknown. Check this host's "
        f"settings, then move the file away: mv {quoted} {quoted}.damaged",
    )


def _may_have_begun(path: Path) -> bool:
    try:
        return begun(path)
    except DirtuneError:
        return True


def _settled(path: Path) -> bool:
    # The last record usually decides, so a plan of ten thousand steps need not be decoded.
    bodies = _bodies(path, _lines(path))
    if not bodies:
        return True
    with suppress(msgspec.DecodeError):
        if isinstance(_DECODER.decode(bodies[-1]), Confirmed | RolledBack):
            return True
    return load(path).state in {State.CONFIRMED, State.ROLLED_BACK}


def _record(path: Path, number: int, line: bytes) -> Record:
    try:
        return _DECODER.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _damaged(path, f"line {number}: {error}") from error


@contextmanager
def _gone_if_torn(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError:
        path.unlink()
        raise


def _encoded(path: Path, record: Record) -> bytes:
    """Return *record* as JSON; raises `NotPossible` if dirtune could not read it, as with NaN."""
    try:
        line = msgspec.json.encode(record)
        _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        problem = (
            f"a record could not be read back ({error}), so dirtune stopped before writing it"
        )
        raise NotPossible(f"{path}: {problem}") from error
    return line


def _put(descriptor: int, line: bytes) -> None:
    left = memoryview(line + b"\n")
    while left:
        # On an almost full disk, a write may be short without an error; the next one then fails.
        left = left[os.write(descriptor, left) :]
    os.fsync(descriptor)
