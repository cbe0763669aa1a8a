"""/var/lib/dirtune: what was changed on this host, so that it can be rolled back.

One file for each apply, one JSON record a line, each on the disk before what it announces is
done. A record that a power cut tore in two is the last, and announced nothing that was done.

A name begins with the journal's number: the order of undoing is that of the numbers, because
clocks are set. Each line carries a checksum, and a damaged journal is never undone by guess.
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

_UNSEALED = "dirtune/journal/1"
"""Without checksums, and named by the time."""
_UNSEALED_END = b'"schema":"%s"}' % _UNSEALED.encode()
_ENDING = ".journal"
_BEGINNING = b'{"record":"planned",'
_NUMBER = re.compile(r"(?P<number>\d+)-")
_LARGEST_BYTES = 64 << 20
"""A file that is larger is not a journal: a plan may fill half, what its changes save the rest."""
_ENDING_BYTES = 4 << 20
"""The part of it kept for the records that say what became of the changes."""


_DECODER: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


@dataclass(frozen=True, slots=True)
class Survey:
    """The journals of a folder that are open, and those that cannot be read."""

    unfinished: tuple[Path, ...]
    """Neither kept nor rolled back."""
    unreadable: tuple[str, ...]
    """Why each unreadable journal cannot be read, and the remedy."""


def boot_clock_s() -> float:
    """Return seconds since boot; it goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def path_of(folder: Path, name: str) -> Path:
    """Return the file of the journal called *name*."""
    return folder / f"{name.removesuffix(_ENDING)}{_ENDING}"


def next_name(folder: Path, stamp: str) -> str:
    """Return the name of the next journal, which sorts behind all there are; hold the lock."""
    last = max((_order(path)[0] for path in _all(folder)), default=0)
    return f"{last + 1:06d}-{stamp}"


def is_later(name: str, than: str) -> bool:
    """Whether the journal *name* was begun after *than*, whatever the clock said."""
    return _order(Path(name)) > _order(Path(than))


def create(path: Path, planned: Planned) -> None:
    """Begin a journal; `NotPossible` if nothing can be kept there."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    line = chain.sealed(_encoded(path, planned), None)
    if len(line) > _LARGEST_BYTES // 2:
        raise NotPossible(
            f"{path}: the plan is larger than {_LARGEST_BYTES >> 21} MiB. Apply it in parts."
        )
    try:
        with private.folder(path.parent, make=True) as folder:
            with os.fdopen(private.opened(folder, path, flags), "wb") as file, _gone_if_torn(path):
                _put(file.fileno(), line)
            writing.sync(folder)
    except OSError as error:
        raise NotPossible(
            f"{path}: {error.strerror}, and without a journal dirtune changes nothing"
        ) from error


def append(path: Path, record: Record) -> None:
    """Add *record* and have it on the disk before returning.

    `NotPossible` if it cannot be, as on a full disk; then the journal is as it was before.
    """
    try:
        with _opened(path, os.O_RDWR) as file:
            lines = _whole(path, file)
            if not lines:
                raise NotPossible(
                    f"{path}: does not begin with a plan: nothing can be added to it"
                )
            line = _encoded(path, record)
            if not lines[0].endswith(_UNSEALED_END):
                line = chain.sealed(line, lines[-1])
            # A torn record must not swallow the next one.
            end = sum(len(whole) + 1 for whole in lines)
            if isinstance(record, Begun) and end + len(line) > _LARGEST_BYTES - _ENDING_BYTES:
                raise NotPossible(
                    f"{path}: with what it replaces it is larger than {_LARGEST_BYTES >> 20} MiB. "
                    "Apply it in parts."
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
    """Read one journal; `ParseError` names the line that is damaged."""
    bodies = _bodies(path, _lines(path))
    records = tuple(_record(path, number, body) for number, body in enumerate(bodies, 1))
    if not records or not isinstance(records[0], Planned):
        raise ParseError(str(path), "does not begin with a plan, so nothing was changed by it")
    planned = records[0]
    if planned.journal != path.stem:
        raise ParseError(str(path), f"is a copy of the journal {planned.journal}. Remove it.")
    count = len(planned.changes)
    if not all(0 <= step.index < count for step in records[1:] if isinstance(step, Begun)):
        raise _damaged(path, f"it names a change beyond the {count} of its plan")
    return Entry(planned, records[1:])


def paths(folder: Path) -> tuple[Path, ...]:
    """Return every journal, also those that cannot be read, in the order they were begun.

    One whose first record was torn is left out: nothing had been done.
    """
    return tuple(path for path in _all(folder) if _may_have_begun(path))


def begun(path: Path) -> bool:
    """Whether there is a journal *path* whose plan is whole; else nothing had been done by it."""
    return bool(_lines(path))


def find(folder: Path, name: str | None) -> Path:
    """Return the journal called *name*, the last one for None; `NotPossible` if there is none."""
    known = paths(folder)
    if name is None:
        if not known:
            raise NotPossible(
                f"{folder} holds no journal, so dirtune changed nothing on this host"
            )
        return known[-1]
    path = path_of(folder, name)
    if path not in known:
        last = f"The last one is {known[-1].stem}." if known else "It holds none."
        raise NotPossible(f"{folder} holds no journal {name}. {last}")
    return path


def entries(folder: Path) -> tuple[Entry, ...]:
    """Return every journal that can be read, in the order they were begun."""
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
    """Return the journals that can be read and are neither kept nor rolled back."""
    return survey(folder).unfinished


@contextmanager
def lock(folder: Path, *, wait_s: float = 2) -> Iterator[None]:
    """Keep every other dirtune from changing this host; `NotPossible` names who does."""
    try:
        with private.folder(folder, make=True) as descriptor:
            file = _opened_lock(descriptor, folder, os.O_CREAT)
    except OSError as error:
        raise NotPossible(
            f"{folder}: {error.strerror}. Changes need root: run it with sudo."
        ) from error
    with file:
        if not locking.take(file, wait_s=wait_s):
            owner = file.read().strip() or "unknown"
            raise NotPossible(f"Process {owner} is changing this host. Wait for it to end.")
        # On a full disk it is held by nobody's name: what was changed must be undone there, too.
        with suppress(OSError):
            os.ftruncate(file.fileno(), 0)
            os.pwrite(file.fileno(), f"{os.getpid()}\n".encode(), 0)
        yield


def locked(folder: Path) -> bool:
    """Whether a dirtune is changing this host just now; only root can see it."""
    try:
        with private.folder(folder) as descriptor, _opened_lock(descriptor, folder, 0) as file:
            return locking.is_taken(file)
    except (OSError, NotPossible):
        return False


def _opened_lock(within: int, folder: Path, create: int) -> TextIO:
    # Nobody else may open it: a lock can be held by whoever can read the file.
    return os.fdopen(private.opened(within, folder / "lock", os.O_RDWR | create), "r+")


def _order(path: Path) -> tuple[int, str]:
    """Return what journals are sorted by; those without a number were before all with one."""
    match = _NUMBER.match(path.name)
    return (int(match["number"]) if match else 0, path.name)


def _all(folder: Path) -> list[Path]:
    try:
        with private.folder(folder) as descriptor:
            names = os.listdir(descriptor)  # noqa: PTH208  (it has no path)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise NotPossible(f"{folder}: {error.strerror}") from error
    return sorted((folder / name for name in names if name.endswith(_ENDING)), key=_order)


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[BinaryIO]:
    with private.folder(path.parent) as folder:
        descriptor = private.opened(folder, path, flags)
    with os.fdopen(descriptor, "r+b" if flags & os.O_RDWR else "rb") as file:
        yield file


def _lines(path: Path) -> list[bytes]:
    """Return the whole lines of a journal, none if there is no such file."""
    try:
        with _opened(path, os.O_RDONLY) as file:
            return _whole(path, file)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise NotPossible(f"{path}: {error.strerror}") from error


def _whole(path: Path, file: BinaryIO) -> list[bytes]:
    """Return the lines of *file* that have an end."""
    if os.fstat(file.fileno()).st_size > _LARGEST_BYTES:
        raise _damaged(path, f"larger than {_LARGEST_BYTES >> 20} MiB")
    *lines, torn = file.read().split(b"\n")
    if not lines and not _BEGINNING.startswith(torn[: len(_BEGINNING)]):
        raise _damaged(path, "no line of it is whole")  # and more than a power cut in the first
    return lines


def _bodies(path: Path, lines: list[bytes]) -> list[bytes]:
    """Return the records in *lines* as JSON; `ParseError` if they are not as they were written."""
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
        f"damaged ({what}), so what it changed is unknown. Check this host's settings, then move "
        f"the file away: mv {quoted} {quoted}.damaged",
    )


def _may_have_begun(path: Path) -> bool:
    try:
        return begun(path)
    except DirtuneError:
        return True


def _settled(path: Path) -> bool:
    # Mostly the end tells; a plan of ten thousand steps need not be decoded for it.
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
    """Return *record* as JSON; `NotPossible` if it does not read back, as what is no number."""
    try:
        line = msgspec.json.encode(record)
        _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        said = f"could not be read again ({error}), so nothing is changed"
        raise NotPossible(f"{path}: {said}") from error
    return line


def _put(descriptor: int, line: bytes) -> None:
    left = memoryview(line + b"\n")
    while left:
        # On a disk that is almost full a part is written without a word; the next call says why.
        left = left[os.write(descriptor, left) :]
    os.fsync(descriptor)
