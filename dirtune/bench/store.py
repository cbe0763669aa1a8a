"""Write runs to disk and read them back.

A run is a folder with run.json and the raw output of the load generators. Each trial is flushed to
disk before the next trial begins. run.json is replaced in one step, so that a reader finds either
the old file or the new file, even after a power cut.
"""

import os
import weakref
from contextlib import suppress
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import msgspec

from dirtune import __version__, locking, reading, writing
from dirtune.analyse.run import Cell, Looks, Run, Trial
from dirtune.bench import exchange
from dirtune.bench.trial import Result
from dirtune.errors import NotPossible, ParseError, SourceMissing, TrialError
from dirtune.formats import from_json
from dirtune.plan.tables import Plan

OUT = Path("dirtune-runs")
_NAME, _LOCK = "run.json", ".lock"
_LARGEST_BYTES = 64 << 20
"""Size limit of run.json in bytes; a run of a thousand trials needs a tenth of this."""


class Store:
    """The folder of one run, and the run itself."""

    def __init__(self, folder: Path, run: Run, *, resumed: bool = False) -> None:
        self.folder = folder
        self.run = run
        self.resumed = resumed
        """Whether an earlier process began the run."""

    def hold(self) -> None:
        """Lock the run, so that no other dirtune process writes to it.

        The lock lasts until this process ends or the store is deleted from memory. Raises
        `TrialError` if another dirtune process holds the lock.
        """
        require_not_planted(self.folder)
        # The lock is not on the folder itself, because any user who can open it could lock it.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(self.folder / _LOCK, flags, 0o600)
        weakref.finalize(self, os.close, handle)
        if not locking.take(handle):
            raise TrialError(
                f"Another dirtune process is using the run in {self.folder}. Wait for it to end."
            )

    def drop_if_empty(self) -> None:
        """Remove the folder of a run that was refused, or that ended before its first trial."""
        if self.run.trials or self.run.link or self.run.finished is not None:
            return
        with suppress(OSError):  # the folder may contain other files by now
            (self.folder / _LOCK).unlink(missing_ok=True)
            (self.folder / _NAME).unlink()
            self.folder.rmdir()

    def keep(self, result: Result) -> None:
        """Write a trial and its raw output to disk.

        A trial with the same id is replaced.
        """
        raw = self.folder / "raw" / result.trial.id
        make(raw)
        for name, text in result.raw.items():
            # The file name begins with the name of a host, and an SSH alias may contain slashes.
            write(raw / name.replace("/", "%2F"), text.encode())
        self.save(msgspec.structs.replace(self.run, trials=_with(self.run.trials, result.trial)))

    def save(self, run: Run) -> None:
        """Replace run.json in one step."""
        text = msgspec.json.format(msgspec.json.encode(run), indent=1)
        write(self.folder / _NAME, text)
        self.run = run


def begin(  # noqa: PLR0913  (all by name: what distinguishes one run from another)
    out: Path,
    plan: Plan,
    *,
    title: str,
    command: str,
    scenario: dict[str, object] | None = None,
    cells: tuple[Cell, ...] = (),
    looks: Looks | None = None,
) -> Store:
    """Create a folder below *out* for a run of *plan* that has no results yet.

    *command* is the command line of dirtune. Raises `TrialError` if the folder cannot be created.
    """
    now = datetime.now(UTC)
    run = Run(
        id=new_id(out, now),
        started=now.isoformat(timespec="seconds"),
        finished=None,
        command=command,
        version=__version__,
        title=title,
        plan_document=msgspec.to_builtins(plan),
        scenario=scenario,
        inventory={},
        primary_metric=plan.compare.primary,
        audits={},
        handlers={},
        trials=(),
        forecast=None,
        comparisons=(),
        steps=(),
        verdict=None,
        notes=plan.notes,
        cells=cells,
        looks=looks,
    )
    return create(out, run)


def create(out: Path, run: Run) -> Store:
    """Create a folder for *run* below *out*.

    Raises `TrialError` if the folder cannot be created.
    """
    store = Store(out / run.id, run)
    make(store.folder)
    store.hold()
    store.save(run)
    return store


def resume(folder: Path) -> Store:
    """Open the folder of an interrupted run, so that the run can continue.

    Raises `TrialError` if another dirtune process is using the run.
    """
    store = Store(
        folder if reading.is_folder(folder) else folder.parent, load(folder), resumed=True
    )
    store.hold()
    # Another process may have added trials before it released its lock.
    store.run = load(folder)
    return store


def load(folder: Path) -> Run:
    """Return the run in *folder*, which may also be the path of a run.json or a pyperf file.

    Raises `ParseError` if there is no run.
    """
    path = folder / _NAME if os.path.isdir(folder) else folder  # noqa: PTH112  (any length)
    try:
        text = reading.read_bytes(path, _LARGEST_BYTES)
        if exchange.is_pyperf(text):
            return exchange.from_pyperf(path, text)
        return from_json(text, Run)
    except FileNotFoundError as error:
        raise SourceMissing(f"{folder} contains no run.json. Name the folder of a run.") from error
    except OSError as error:
        raise SourceMissing(f"{path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ParseError(str(path), str(error)) from error


def example(name: str) -> Run:
    """Return an example run that is part of dirtune; `paper` has the figures of the 2001 paper."""
    text = resources.files("dirtune.bench").joinpath(f"examples/{name}.json").read_bytes()
    return msgspec.json.decode(text, type=Run)


def new_id(out: Path, now: datetime, ending: str = "") -> str:
    """Return a name for a new run; no folder below *out* has this name.

    The name consists of the time *now* and of *ending*.
    """
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
    """Create *folder* and its parents, and flush them to disk."""
    missing = [path for path in (folder, *folder.parents) if not reading.exists(path)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in missing:
            writing.sync(path.parent)
        require_not_planted(folder)
    except OSError as error:
        raise TrialError(
            f"Cannot write to {folder}: {error.strerror}. Choose another folder with --out."
        ) from error


def require_not_planted(folder: Path) -> None:
    """Check that no other user can replace the files in *folder*.

    Raises `TrialError` if another user can.
    """
    try:
        for path in (at := folder.absolute(), *at.parents):
            writing.require_not_planted(path)
    except NotPossible as error:
        raise TrialError(str(error)) from error


def write(path: Path, text: bytes) -> None:
    """Replace the file *path* in one step.

    A reader finds either the old text or the new text, even after a power cut.
    """
    try:
        writing.replace(path, text)
    except NotPossible as error:
        raise TrialError(f"{error}; the data written before is kept") from error
