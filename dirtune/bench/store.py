"""Runs on disk: a folder each, with run.json and the generators' raw output.

A trial is on the disk, not only in its cache, before the next one begins; run.json is replaced
in one step, so that a reader or a power cut finds the old one or the new one.
"""

import os
import weakref
from contextlib import suppress
from datetime import datetime
from importlib import resources
from pathlib import Path

import msgspec

from dirtune import locking, reading, writing
from dirtune.analyse.run import Run, Trial
from dirtune.bench import exchange
from dirtune.bench.trial import Result
from dirtune.errors import NotPossible, ParseError, SourceMissing, TrialError
from dirtune.formats import from_json

OUT = Path("dirtune-runs")
_NAME, _LOCK = "run.json", ".lock"
_LARGEST_BYTES = 64 << 20
"""Limit of run.json; one with a thousand trials is a tenth of it."""


class Store:
    """One run's folder."""

    def __init__(self, folder: Path, run: Run) -> None:
        self.folder = folder
        self.run = run

    def hold(self) -> None:
        """Keep other dirtunes from adding to the run; `TrialError` if one does that already.

        Until the process ends, or nobody has the store any more.
        """
        require_not_planted(self.folder)
        # Not the folder: a lock can be held by whoever can open it for reading.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(self.folder / _LOCK, flags, 0o600)
        weakref.finalize(self, os.close, handle)
        if not locking.take(handle):
            raise TrialError(f"{self.folder}: another dirtune is at this run: wait for it")

    def drop_if_empty(self) -> None:
        """Remove the folder if nothing was measured: the run was refused, or ended at once."""
        if self.run.trials or self.run.link or self.run.finished is not None:
            return
        with suppress(OSError):  # something else may lie there by now
            (self.folder / _LOCK).unlink(missing_ok=True)
            (self.folder / _NAME).unlink()
            self.folder.rmdir()

    def keep(self, result: Result) -> None:
        """Add a trial, or replace the one with its id, and its raw output."""
        raw = self.folder / "raw" / result.trial.id
        make(raw)
        for name, text in result.raw.items():
            # It begins with a host's name, and an alias of ssh may have slashes.
            write(raw / name.replace("/", "%2F"), text.encode())
        self.save(msgspec.structs.replace(self.run, trials=_with(self.run.trials, result.trial)))

    def save(self, run: Run) -> None:
        """Replace the run on disk; what was there stays until the new one is whole."""
        text = msgspec.json.format(msgspec.json.encode(run), indent=1)
        write(self.folder / _NAME, text)
        self.run = run


def create(out: Path, run: Run) -> Store:
    """Make the run's folder below *out*; `TrialError` if that cannot be written."""
    store = Store(out / run.id, run)
    make(store.folder)
    store.hold()
    store.save(run)
    return store


def resume(folder: Path) -> Store:
    """Return the store of a run that was interrupted, to go on with; `TrialError` if one does."""
    store = Store(folder if reading.is_folder(folder) else folder.parent, load(folder))
    store.hold()
    # What another has added before it ended.
    store.run = load(folder)
    return store


def load(folder: Path) -> Run:
    """Return the run in *folder* (or in the file itself); `ParseError` if it is no run.

    A file of pyperf is a run as well.
    """
    path = folder / _NAME if os.path.isdir(folder) else folder  # noqa: PTH112  (any length)
    try:
        text = reading.read_bytes(path, _LARGEST_BYTES)
        if exchange.is_pyperf(text):
            return exchange.from_pyperf(path, text)
        return from_json(text, Run)
    except FileNotFoundError as error:
        raise SourceMissing(f"{folder}: no run.json there") from error
    except OSError as error:
        raise SourceMissing(f"{path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ParseError(str(path), str(error)) from error


def example(name: str) -> Run:
    """Return a run that comes with dirtune; `paper` is that of the 2001 paper."""
    text = resources.files("dirtune.bench").joinpath(f"examples/{name}.json").read_bytes()
    return msgspec.json.decode(text, type=Run)


def new_id(out: Path, now: datetime, ending: str = "") -> str:
    """Return a name for a new run that is not taken below *out*."""
    stamp = f"{now:%Y%m%d-%H%M%S}"
    name, count = f"{stamp}{ending}", 1
    while reading.exists(out / name):
        count += 1
        name = f"{stamp}-{count}{ending}"
    return name


def _with(trials: tuple[Trial, ...], trial: Trial) -> tuple[Trial, ...]:
    by_id = {known.id: known for known in trials} | {trial.id: trial}
    return tuple(by_id.values())


def make(folder: Path) -> None:
    """Make *folder* and those above it, to be there after a power cut as well."""
    missing = [path for path in (folder, *folder.parents) if not reading.exists(path)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in missing:
            writing.sync(path.parent)
        require_not_planted(folder)
    except OSError as error:
        raise TrialError(f"{folder}: {error.strerror}; choose another place with --out") from error


def require_not_planted(folder: Path) -> None:
    """Raise `TrialError` where another user could exchange what is kept in *folder*."""
    try:
        for path in (at := folder.absolute(), *at.parents):
            writing.require_not_planted(path)
    except NotPossible as error:
        raise TrialError(str(error)) from error


def write(path: Path, text: bytes) -> None:
    """Replace a file: a reader, or a power cut, finds the old text or the new."""
    try:
        writing.replace(path, text)
    except NotPossible as error:
        raise TrialError(f"{error}; what was written before is kept") from error
