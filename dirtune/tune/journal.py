"""/var/lib/dirtune: what was changed on this host, so that it can be taken back.

One file for each apply, one JSON record a line, each on the disk before what it announces is
done. A record that a power cut tore in two is the last, and announced nothing that was done.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TextIO

import msgspec

from dirtune.errors import NotPossible, ParseError
from dirtune.tune import private
from dirtune.tune.plan import Action, Change
from dirtune.tune.steps import Saved

SCHEMA = "dirtune/journal/1"
_ENDING = ".journal"
_LOCK_POLL_S = 0.05


class Planned(msgspec.Struct, frozen=True, tag="planned", tag_field="record"):
    """What is about to be done."""

    journal: str
    """The journal's name."""
    made: str
    """UTC, ISO 8601."""
    boot: str
    """The kernel's boot_id, for what a reboot takes back by itself."""
    changes: tuple[Change, ...]
    confirm_s: float
    """Seconds from `Applied` until it is taken back unless confirmed; 0 keeps it unasked."""
    forced: str | None = None
    """Why refusals were overruled; None where none was."""
    schema: str = SCHEMA


class Begun(msgspec.Struct, frozen=True, tag="begun", tag_field="record"):
    """A change is about to be made, and perhaps was."""

    index: int
    saved: Saved


class Applied(msgspec.Struct, frozen=True, tag="applied", tag_field="record"):
    """Every change was made and read back; again, where the time to confirm was renewed."""

    at_s: float
    """The host's clock since boot, seconds (CLOCK_BOOTTIME)."""


class Confirmed(msgspec.Struct, frozen=True, tag="confirmed", tag_field="record"):
    """Somebody wants it kept."""


class RolledBack(msgspec.Struct, frozen=True, tag="rolled-back", tag_field="record"):
    """Everything was put back."""

    why: str


class Stuck(msgspec.Struct, frozen=True, tag="stuck", tag_field="record"):
    """An undo was tried, and this is left; it can be tried again."""

    left: tuple[str, ...]


Record = Planned | Begun | Applied | Confirmed | RolledBack | Stuck
_DECODER: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


class State(StrEnum):
    """How far it got."""

    PLANNED = "planned"
    """Begun and not finished: dirtune died, or an undo is stuck."""
    APPLIED = "applied"
    """Everything made, waiting to be confirmed."""
    CONFIRMED = "confirmed"
    ROLLED_BACK = "rolled-back"


@dataclass(frozen=True)
class Entry:
    """A journal as read."""

    planned: Planned
    rest: tuple[Record, ...]

    @property
    def state(self) -> State:
        """How far it got; what is not confirmed and needs no confirmation counts as such."""
        kinds = {type(record) for record in self.rest}
        if RolledBack in kinds:
            return State.ROLLED_BACK
        if self.rest and isinstance(self.rest[-1], Stuck):
            return State.PLANNED
        if Confirmed in kinds:
            return State.CONFIRMED
        if Applied not in kinds:
            return State.PLANNED
        return State.APPLIED if self.planned.confirm_s else State.CONFIRMED

    @property
    def begun(self) -> tuple[tuple[int, tuple[Action, Saved]], ...]:
        """Every change that was made or may have been, by its number, with what was there."""
        begun = (record for record in self.rest if isinstance(record, Begun))
        changes = self.planned.changes
        return tuple((step.index, (changes[step.index].action, step.saved)) for step in begun)

    @property
    def done(self) -> tuple[tuple[Action, Saved], ...]:
        """The same without the numbers."""
        return tuple(done for _, done in self.begun)

    @property
    def made(self) -> tuple[Change, ...]:
        """The changes that were made, each once."""
        numbers = sorted({index for index, _ in self.begun})
        return tuple(self.planned.changes[index] for index in numbers)

    def seconds_left(self, boot: str, now_s: float) -> float | None:
        """Seconds until the window of confirmation closes; None if there is none open.

        A reboot closes it. Not above 0 says it is over and nobody took the changes back yet.
        """
        if self.state is not State.APPLIED:
            return None
        if boot != self.planned.boot:
            return 0.0
        last_s = [record.at_s for record in self.rest if isinstance(record, Applied)][-1]
        return last_s + self.planned.confirm_s - now_s


def boot_clock_s() -> float:
    """Return seconds since boot; it goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def path_of(folder: Path, name: str) -> Path:
    """Return the file of the journal called *name*."""
    return folder / f"{name.removesuffix(_ENDING)}{_ENDING}"


def create(path: Path, planned: Planned) -> None:
    """Begin a journal; `NotPossible` if nothing can be kept there."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("xb") as file, _gone_if_torn(path):
            _put(file.fileno(), planned)
        _sync(path.parent)
    except OSError as error:
        raise NotPossible(
            f"{path}: {error.strerror}; without a journal nothing is changed"
        ) from error


def append(path: Path, record: Record) -> None:
    """Add *record* and have it on the disk before returning.

    `NotPossible` if it cannot be, as on a full disk; then the journal is as it was before.
    """
    try:
        with path.open("r+b") as file:
            whole = file.read().rfind(b"\n") + 1
            if not whole:
                raise NotPossible(
                    f"{path}: does not begin with a plan: nothing can be added to it"
                )
            # A torn record must not swallow the next one.
            file.seek(whole)
            file.truncate()
            try:
                _put(file.fileno(), record)
            except OSError:
                file.truncate(whole)
                raise
    except OSError as error:
        raise NotPossible(f"{path}: {error.strerror}") from error


def load(path: Path) -> Entry:
    """Read one journal; `ParseError` names the line that is none."""
    try:
        *lines, _torn = path.read_bytes().split(b"\n")
    except OSError as error:
        raise NotPossible(f"{path}: {error.strerror}") from error
    records = tuple(_record(path, number, line) for number, line in enumerate(lines, 1))
    if not records or not isinstance(records[0], Planned):
        raise ParseError(str(path), "does not begin with a plan; nothing was done by it")
    return Entry(records[0], records[1:])


def paths(folder: Path) -> tuple[Path, ...]:
    """Return every journal, the oldest first: names begin with the time.

    One whose first record was torn is left out: nothing had been done.
    """
    return tuple(path for path in sorted(folder.glob(f"*{_ENDING}")) if begun(path))


def begun(path: Path) -> bool:
    """Whether there is a journal *path* whose plan is whole; else nothing had been done by it."""
    try:
        return b"\n" in path.read_bytes()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise NotPossible(f"{path}: {error.strerror}") from error


def find(folder: Path, name: str | None) -> Path:
    """Return the journal called *name*, the last one for None; `NotPossible` if there is none."""
    known = paths(folder)
    if name is None:
        if not known:
            raise NotPossible(f"{folder}: no journal; nothing was changed by dirtune on this host")
        return known[-1]
    found = path_of(folder, name)
    if found not in known:
        said = f"the last is {known[-1].stem}" if known else "there is none"
        raise NotPossible(f"{name}: no such journal in {folder}; {said}")
    return found


def unfinished(folder: Path) -> tuple[Path, ...]:
    """Return the journals that are neither kept nor taken back."""
    return tuple(path for path in paths(folder) if not _settled(path))


@contextmanager
def lock(folder: Path, *, wait_s: float = 2) -> Iterator[None]:
    """Keep every other dirtune from changing this host; `NotPossible` names who does."""
    try:
        with private.folder(folder, make=True) as descriptor:
            file = _opened_lock(descriptor, folder)
    except OSError as error:
        raise NotPossible(f"{folder}: {error.strerror}; changes need root") from error
    with file:
        _take(file, time.monotonic() + wait_s)
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def locked(folder: Path) -> bool:
    """Whether a dirtune is changing this host just now; only root can see it."""
    try:
        with private.folder(folder) as descriptor, _opened_lock(descriptor, folder) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (OSError, NotPossible):
        return False
    return False


def _opened_lock(within: int, folder: Path) -> TextIO:
    # Nobody else may open it: a lock can be held by whoever can read the file.
    return os.fdopen(private.opened(within, folder / "lock", os.O_RDWR | os.O_CREAT), "r+")


def _take(file: TextIO, until_s: float) -> None:
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= until_s:
                file.seek(0)
                owner = file.read().strip() or "unknown"
                raise NotPossible(f"process {owner} is changing this host; wait for it") from error
            time.sleep(_LOCK_POLL_S)
        else:
            return


def _settled(path: Path) -> bool:
    # Mostly the end tells; a plan of ten thousand steps need not be read for it.
    end = path.read_bytes().removesuffix(b"\n").rpartition(b"\n")[2]
    with suppress(msgspec.DecodeError):
        if isinstance(_DECODER.decode(end), Confirmed | RolledBack):
            return True
    return load(path).state in {State.CONFIRMED, State.ROLLED_BACK}


def _record(path: Path, number: int, line: bytes) -> Record:
    try:
        return _DECODER.decode(line)
    except msgspec.DecodeError as error:
        raise ParseError(str(path), f"line {number}: {error}") from error


@contextmanager
def _gone_if_torn(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError:
        path.unlink()
        raise


def _put(descriptor: int, record: Record) -> None:
    left = memoryview(msgspec.json.encode(record) + b"\n")
    while left:
        # On a disk that is almost full a part is written without a word; the next call says why.
        left = left[os.write(descriptor, left) :]
    os.fsync(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
