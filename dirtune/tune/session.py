"""Run a session of `dirtune tune`: try fixes one after another, each in a run of its own.

The session is a file that dirtune replaces after every step. The module `decide` derives the next
step from the file.
"""

import shlex
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec

from dirtune import __version__, reading
from dirtune import plan as plans
from dirtune.analyse import compare
from dirtune.analyse.run import Run, Trial
from dirtune.bench import rig, store
from dirtune.bench.store import Store
from dirtune.change.documents import PlanDocument
from dirtune.checks import Risk, discovery
from dirtune.errors import ApplyError, DirtuneError, NotPossible, NoVerdict, ParseError, PlanError
from dirtune.formats import from_json
from dirtune.plan.tables import Plan
from dirtune.tune import boots, decide, director, live, record, turn
from dirtune.tune.decide import Attempt, Boot, Outcome, Session, Trying, Wishes
from dirtune.tune.director import Say

_NAME = "tune.json"
_ENDING = "-tune"
Finished = Callable[[Run, Path], object]
"""A function that writes the report of a finished run into its folder."""


@dataclass(frozen=True, slots=True)
class Tune:
    """The settings of a session."""

    plan: Plan
    out: Path
    say: Say
    finished: Finished
    boot: Callable[[], None] | None = None
    """A function that boots the director and waits until it answers; None if a person must boot
    it."""
    boots: int = decide.BOOTS
    """Boots with the fix, and as many without it, if a fix needs boots."""
    still: tuple[Trial, ...] = ()
    """The trials of an A/A run (no fix in either arm) of the same plan; empty if there was
    none."""


@dataclass(frozen=True, slots=True)
class Request:
    """The options and the command line with which the user begins a session."""

    wishes: Wishes
    command: str
    keep_equivalent: bool = False


class Kept:
    """A session and its folder on disk."""

    def __init__(self, folder: Path, session: Session) -> None:
        self.folder = folder
        self.session = session

    def save(self, session: Session) -> None:
        """Replace the session in memory and on disk."""
        text = msgspec.json.format(msgspec.json.encode(session), indent=1)
        store.write(self.folder / _NAME, text)
        self.session = session

    def attempt(self, number: int, **changes: object) -> Attempt:
        """Change fields of one attempt in memory and on disk, and return the changed attempt."""
        attempt = msgspec.structs.replace(self.session.attempts[number], **changes)
        self.save(decide.with_attempt(self.session, number, attempt))
        return attempt


async def begin(tune: Tune, request: Request) -> Kept:
    """Begin a session: ask the director for its fixes, and write the queue of attempts to disk.

    Raises `PlanError` if the plan has too few pairs for a verdict, and `TrialError` if the session
    is to measure live traffic, but the director has too little.
    """
    plan, words = tune.plan, request.wishes.words
    async with await director.connect(plan) as node:
        proposal = await director.ask(node, plan, ("fix", "plan", *words), PlanDocument)
    known = {check.id: check for check in discovery.all_checks()}
    attempts = decide.attempts(proposal, request.wishes, known)
    if any(decide.by_pairs(attempt) for attempt in attempts):
        remedy = f"Use --pairs {compare.LEAST_PAIRS} or more, or set pairs in [load] of the plan."
        compare.require_pairs(plan.load.pairs, remedy)
        if request.wishes.live:
            async with rig.opened(plan, alone=True) as nodes:
                await live.require_traffic(nodes, plan)
    name = store.new_id(tune.out, datetime.now(UTC), _ENDING)
    session = Session(
        id=name,
        started=record.now(),
        command=request.command,
        version=__version__,
        title=plan.title or plan.director.host,
        plan=_plain(plan),
        attempts=attempts,
        live=request.wishes.live,
        keep_equivalent=request.keep_equivalent,
        notes=plan.notes,
        number=1 + max((old.session.number for old in _sessions(tune.out, tune.say)), default=0),
    )
    kept = Kept(tune.out / name, session)
    store.make(kept.folder)
    kept.save(session)
    return kept


def resume(out: Path, plan: Plan, say: Say) -> Kept:
    """Return the last unfinished session below the folder *out*.

    Raises `NotPossible` if there is no such session, and `PlanError` if it began with another
    plan.
    """
    store.require_not_planted(out)
    unfinished = [kept for kept in _sessions(out, say) if kept.session.finished is None]
    if not unfinished:
        raise NotPossible(
            f"{out} holds no unfinished session of dirtune tune. To start a new one, leave out "
            "--resume."
        )
    # A clock may be set back, so the time in the name only orders sessions without a number.
    last = max(unfinished, key=lambda kept: (kept.session.number, kept.folder.name))
    if _with_defaults(last.session.plan) != _plain(plan):
        path = last.folder / _NAME
        raise PlanError(
            f"{path} was begun with another plan, or the plan has changed since. Use the original "
            "plan, or leave out --resume to start a new session."
        )
    return last


def _sessions(out: Path, say: Say) -> Iterator[Kept]:
    """Yield all sessions below the folder *out*.

    A session that cannot be read is reported with *say* and skipped.
    """
    for path in sorted(out.glob(f"*{_ENDING}/{_NAME}")):
        try:
            yield Kept(path.parent, load(path))
        except ParseError as error:
            say(f"{error}. The session is skipped. Repair the file, or move {path.parent} away.")


def _with_defaults(document: dict[str, object]) -> dict[str, object] | None:
    """Return the plan of a session with the defaults of keys that an older version did not know.

    The result is None if *document* is not a plan.
    """
    try:
        return _plain(plans.kept(document))
    except PlanError:
        return None


def _plain(plan: Plan) -> dict[str, object]:
    """Return *plan* in the form in which it is read back from disk."""
    return msgspec.json.decode(msgspec.json.encode(plan), type=dict[str, object])


def load(path: Path) -> Session:
    """Read the session in the file *path*.

    Raises `ParseError` if the file does not contain a session.
    """
    try:
        return from_json(reading.read_bytes(path), Session)
    except OSError as error:
        raise ParseError(str(path), str(error.strerror)) from error
    except msgspec.DecodeError as error:
        raise ParseError(str(path), str(error)) from error


async def go_on(tune: Tune, kept: Kept) -> bool:
    """Carry out the remaining attempts.

    Return False if a person must boot the director first.
    """
    while (number := decide.upcoming(kept.session)) is not None:
        attempt = kept.session.attempts[number]
        tune.say(f"{attempt.name}: {'; '.join(attempt.titles)}")
        try:
            done = await _try(tune, kept, number)
        except (ApplyError, NotPossible, NoVerdict) as error:
            if attempt.risk is Risk.REBOOT:
                raise  # the fix may be active until a boot, and its boots are on disk
            # The director has rolled the fix back, so dirtune can still try the remaining fixes.
            kept.save(
                decide.with_attempt(
                    kept.session,
                    number,
                    decide.ended(kept.session.attempts[number], Outcome.FAILED, str(error)),
                )
            )
            tune.say(f"{attempt.name} failed: {error}")
            continue
        if not done:
            return False
    kept.save(msgspec.structs.replace(kept.session, finished=record.now()))
    return True


async def _try(tune: Tune, kept: Kept, number: int) -> bool:
    attempt = kept.session.attempts[number]
    if attempt.run is None and not await _to_do(tune, attempt):
        why = "The director no longer has the finding: an earlier fix or somebody removed it."
        kept.attempt(number, outcome=Outcome.GONE, why=why)
        return True
    trying = _trying(tune, kept.session, attempt)
    run_store = _store(tune, kept, number, trying)
    run = await _way(tune, kept, number)(trying, run_store, tune.say)
    if run is None:
        return False
    comparison, sentence = run.comparisons[0], run.verdict or ""
    equivalent = kept.session.keep_equivalent
    attempt = kept.session.attempts[number]
    done = decide.judged(attempt, comparison, sentence, equivalent=equivalent)
    done = msgspec.structs.replace(done, journal=run.journal)
    kept.save(decide.with_attempt(kept.session, number, done))
    tune.say(f"{done.name}: {done.outcome}: {done.sentence}")
    _report(tune, run, run_store.folder)
    return True


def _report(tune: Tune, run: Run, folder: Path) -> None:
    """Write the report of a run.

    If the report cannot be written, a warning says so, and the verdict on the fix is the same.
    """
    try:
        tune.finished(run, folder)
    except (DirtuneError, OSError) as error:
        again = f"dirtune report {shlex.quote(str(folder))}"
        tune.say(f"Cannot write the report of {folder}: {error}. Write it later: {again}")


async def _to_do(tune: Tune, attempt: Attempt) -> bool:
    async with await director.connect(tune.plan) as node:
        answer = await director.ask(
            node, tune.plan, ("fix", "plan", *attempt.checks), PlanDocument
        )
    return bool(answer.changes)


def _trying(tune: Tune, session: Session, attempt: Attempt) -> Trying:
    return Trying(
        plan=tune.plan,
        checks=attempt.checks,
        title=f"{attempt.name}: {session.title}",
        command=session.command,
        mends=attempt.mends,
        keep_equivalent=session.keep_equivalent,
        still=tune.still,
    )


def _store(tune: Tune, kept: Kept, number: int, trying: Trying) -> Store:
    name = kept.session.attempts[number].run
    if name is not None:
        return store.resume(tune.out / name)
    boots_needed = kept.session.attempts[number].risk is Risk.REBOOT
    made = turn.begin(trying, tune.out, paired=not boots_needed)
    kept.attempt(number, run=made.folder.name)
    return made


def _way(
    tune: Tune, kept: Kept, number: int
) -> Callable[[Trying, Store, Say], Awaitable[Run | None]]:
    attempt = kept.session.attempts[number]
    if attempt.risk is not Risk.REBOOT:
        return partial(turn.turn, live=kept.session.live)

    def remember(boot: Boot) -> None:
        kept.attempt(number, boot=boot)

    arms = decide.boot_arms(tune.boots)
    booting = boots.Booting(arms, remember, attempt.boot, tune.boot)
    return partial(boots.turns, booting=booting)
