"""A whole `dirtune tune`: the queue of fixes gone through, each measured by a run of its own.

The session lies on disk and is replaced after every step, and `decide` says from it what is next.
"""

import shlex
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec

from dirtune import __version__, checks, reading
from dirtune.analyse.run import Run, Trial
from dirtune.bench import store
from dirtune.bench.store import Store
from dirtune.change.documents import PlanDocument
from dirtune.checks import Risk
from dirtune.errors import ApplyError, DirtuneError, NotPossible, NoVerdict, ParseError, PlanError
from dirtune.formats import from_json
from dirtune.plan.tables import Plan
from dirtune.tune import boots, decide, director, record, turn
from dirtune.tune.decide import Attempt, Boot, Session, Trying, Wishes
from dirtune.tune.director import Say

_NAME = "tune.json"
_ENDING = "-tune"
Finished = Callable[[Run, Path], object]
"""Told of each run that is finished, with its folder: writes its report."""


@dataclass(frozen=True, slots=True)
class Tune:
    """What stays the same over a session."""

    plan: Plan
    out: Path
    say: Say
    finished: Finished
    boot: Callable[[], None] | None = None
    """Boots the director and waits until it answers; None where a person does."""
    boots: int = decide.BOOTS
    """Of each arm, for a fix that needs them."""
    still: tuple[Trial, ...] = ()
    """The trials of an A/A run of the same plan; empty without one."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How a session is begun."""

    wishes: Wishes
    command: str
    keep_equivalent: bool = False


class Kept:
    """The session on disk."""

    def __init__(self, folder: Path, session: Session) -> None:
        self.folder = folder
        self.session = session

    def save(self, session: Session) -> None:
        """Replace it."""
        text = msgspec.json.format(msgspec.json.encode(session), indent=1)
        store.write(self.folder / _NAME, text)
        self.session = session

    def attempt(self, number: int, **changes: object) -> Attempt:
        """Change one attempt, on disk as well, and return it."""
        found = msgspec.structs.replace(self.session.attempts[number], **changes)
        self.save(decide.with_attempt(self.session, number, found))
        return found


async def begin(tune: Tune, asked: Asked) -> Kept:
    """Ask the director what there is to fix, and put the queue on disk."""
    plan, words = tune.plan, asked.wishes.words
    async with await director.connect(plan) as node:
        proposal = await director.ask(node, plan, ("fix", "plan", *words), PlanDocument)
        held = await director.standing(node, plan)
    known = {check.id: check for check in checks.all_checks()}
    name = store.new_id(tune.out, datetime.now(UTC), _ENDING)
    session = Session(
        id=name,
        started=record.now(),
        command=asked.command,
        version=__version__,
        title=plan.title or plan.director.host,
        plan=_plain(plan),
        attempts=decide.attempts(proposal, asked.wishes, known),
        live=asked.wishes.live,
        keep_equivalent=asked.keep_equivalent,
        standing=held,
        notes=plan.notes,
        number=1 + max((each.session.number for each in _sessions(tune.out, tune.say)), default=0),
    )
    kept = Kept(tune.out / name, session)
    store.make(kept.folder)
    kept.save(session)
    return kept


def resume(out: Path, plan: Plan, say: Say) -> Kept:
    """Return the last session below *out* that is not finished; `PlanError` if it is another's."""
    store.require_not_planted(out)
    unfinished = [each for each in _sessions(out, say) if each.session.finished is None]
    if not unfinished:
        raise NotPossible(f"{out}: no session of dirtune tune there is unfinished")
    # Clocks are set: the time in a name orders only what an older version began.
    last = max(unfinished, key=lambda each: (each.session.number, each.folder.name))
    if last.session.plan != _plain(plan):
        path = last.folder / _NAME
        raise PlanError(f"{path}: was begun with another plan, or this one was changed since")
    return last


def _sessions(out: Path, say: Say) -> Iterator[Kept]:
    """Yield the sessions below *out*; one that cannot be read is named and hinders no other."""
    for path in sorted(out.glob(f"*{_ENDING}/{_NAME}")):
        try:
            yield Kept(path.parent, load(path))
        except ParseError as error:
            say(f"{error}; the session is left out. Repair it, or move {path.parent} away.")


def _plain(plan: Plan) -> dict[str, object]:
    """Return *plan* as it comes back from the disk."""
    return msgspec.json.decode(msgspec.json.encode(plan), type=dict[str, object])


def load(path: Path) -> Session:
    """Read a session; `ParseError` if it is none."""
    try:
        return from_json(reading.read_bytes(path), Session)
    except OSError as error:
        raise ParseError(str(path), str(error.strerror)) from error
    except msgspec.DecodeError as error:
        raise ParseError(str(path), str(error)) from error


async def go_on(tune: Tune, kept: Kept) -> bool:
    """Try what is left; False when it waits for somebody to boot the director."""
    while (number := decide.upcoming(kept.session)) is not None:
        attempt = kept.session.attempts[number]
        tune.say(f"{attempt.name}: {'; '.join(attempt.titles)}")
        try:
            done = await _try(tune, kept, number)
        except (ApplyError, NotPossible, NoVerdict) as error:
            if attempt.risk is Risk.REBOOT:
                raise  # the fix may be in force until a boot, and the boots it had are on disk
            # The director has taken back what it did of it; the others can still be tried.
            kept.save(
                decide.with_attempt(
                    kept.session,
                    number,
                    decide.ended(kept.session.attempts[number], "failed", str(error)),
                )
            )
            tune.say(f"{attempt.name}: failed: {error}")
            continue
        if not done:
            return False
    kept.save(msgspec.structs.replace(kept.session, finished=record.now()))
    return True


async def _try(tune: Tune, kept: Kept, number: int) -> bool:
    attempt = kept.session.attempts[number]
    if attempt.run is None and not await _to_do(tune, attempt):
        gone = "its finding is gone: a fix before it took it away"
        kept.attempt(number, outcome="gone", why=gone)
        return True
    trying = _trying(tune, kept.session, attempt)
    run_store = _store(tune, kept, number, trying)
    run = await _way(tune, kept, number)(trying, run_store, tune.say)
    if run is None:
        return False
    found, sentence = run.comparisons[0], run.verdict or ""
    equivalent = kept.session.keep_equivalent
    done = decide.judged(kept.session.attempts[number], found, sentence, equivalent=equivalent)
    done = msgspec.structs.replace(done, journal=run.journal)
    kept.save(decide.with_attempt(kept.session, number, done))
    tune.say(f"{done.name}: {done.outcome}: {done.sentence}")
    _report(tune, run, run_store.folder)
    return True


def _report(tune: Tune, run: Run, folder: Path) -> None:
    """Have the report written; that it cannot be changes nothing of what became of the fix."""
    try:
        tune.finished(run, folder)
    except (DirtuneError, OSError) as error:
        tune.say(f"{folder}: no report: {error}; later: dirtune report {shlex.quote(str(folder))}")


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
        standing=session.standing,
        still=tune.still,
    )


def _store(tune: Tune, kept: Kept, number: int, trying: Trying) -> Store:
    name = kept.session.attempts[number].run
    if name is not None:
        return store.resume(tune.out / name)
    made = turn.begin(trying, tune.out)
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
