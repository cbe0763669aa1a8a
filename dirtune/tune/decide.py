"""What the closed loop does next, and what it keeps. Pure.

A session is a queue of attempts, each one fix (or all together) that is measured by a run of its
own. What is left to do is a function of the session and the trials on disk, so that one that was
interrupted, or waits for a boot, goes on where it was.
"""

import math
import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from dirtune.analyse import compare
from dirtune.analyse.arms import Arms
from dirtune.analyse.run import Comparison, Trial, TrialKind, Verdict
from dirtune.change.documents import PlanDocument
from dirtune.checks import Check, Risk
from dirtune.errors import PlanError
from dirtune.plan.tables import Plan

Outcome = Literal["kept", "taken back", "left out", "refused", "failed", "gone"]

BOOTS = 5
"""Boots of each arm: fewer than five values an arm are never a verdict."""
TRIALS_PER_BOOT = 3
_SLOWEST_S = 600
"""What a trial may take beside its load: reaching nodes, compiling probes, an audit."""


class Boot(msgspec.Struct, frozen=True):
    """The boot that a fix which needs one waits for, or is in."""

    number: int
    before: str
    """The boot_id that the director had when it was made ready for this boot."""


class Attempt(msgspec.Struct, frozen=True):
    """One fix, or all together, and what came of it."""

    checks: tuple[str, ...]
    """What `dirtune fix apply` is given."""
    titles: tuple[str, ...] = ()
    """What it changes, in a few words each."""
    risk: Risk = Risk.SAFE
    mends: bool = False
    """Whether it mends what goes wrong, and not only what is slow."""
    run: str | None = None
    """Folder of its run, beside the session's; None until it was begun."""
    boot: Boot | None = None
    outcome: Outcome | None = None
    """None while it is not over."""
    why: str = ""
    """The rule or the reason behind the outcome."""
    journal: str | None = None
    """On the director, of a fix that was kept."""
    comparison: Comparison | None = None
    """Of the primary metric."""
    sentence: str = ""
    """The verdict in words."""

    @property
    def name(self) -> str:
        """What it is called."""
        return ", ".join(self.checks)


class Session(msgspec.Struct, frozen=True):
    """One `dirtune tune`, as it lies on disk (`dirtune/tune/1`)."""

    id: str
    started: str
    """UTC, ISO 8601."""
    command: str
    version: str
    title: str
    plan: dict[str, object]
    attempts: tuple[Attempt, ...]
    finished: str | None = None
    live: bool = False
    """Whether it measured the traffic that was there, without a generator."""
    keep_equivalent: bool = False
    """Whether what costs nothing is kept whatever it is for."""
    standing: tuple[str, ...] = ()
    """Journals that stood on the director before: somebody else's to take back."""
    notes: tuple[str, ...] = ()
    number: int = 0
    """Above that of every session that was there; 0 where the version that began it gave none."""
    schema: str = "dirtune/tune/1"


@dataclass(frozen=True, slots=True)
class Trying:
    """What one turn of the loop is about."""

    plan: Plan
    checks: tuple[str, ...]
    """The findings whose fixes are tried, together."""
    title: str
    command: str
    """The command line that asked for it."""
    mends: bool = False
    """Whether the fix mends what goes wrong, and not only what is slow."""
    keep_equivalent: bool = False
    """Whether costing nothing is enough to keep any fix."""
    standing: tuple[str, ...] = ()
    """Journals on the director that are not the loop's to take back."""
    scenario: dict[str, object] | None = None
    still: tuple[Trial, ...] = ()
    """The trials of an A/A run of the same plan; empty without one."""

    def noise_floor(self, metric: str, rate: float | None) -> float | None:
        """Return what the A/A run tells of *metric* at one of `Plan.compared_at`, as a share."""
        if not self.still:
            return None
        return compare.floor_of(self.still, metric, rate or self.plan.pair_rates[0])


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the options ask for."""

    words: tuple[str, ...] = ()
    """CHECK or CHECK/FIX; empty for all that the director's dirtune can fix safely."""
    together: bool = False
    """All in one attempt."""
    live: bool = False
    """On the traffic that is there, which no boot may interrupt."""


def attempts(
    plan: PlanDocument, wishes: Wishes, known: Mapping[str, Check]
) -> tuple[Attempt, ...]:
    """Return the queue: what needs boots first, then the gravest.

    A boot takes back whatever an earlier attempt kept at run time. Nobody's director is booted
    ten times unasked, nor its traffic interrupted: without names such a fix is left out, and the
    queue says so. `PlanError` where two fixes of one check are named: the director has both by
    the same finding, and could not tell which of them a run left.
    """
    _check_words(wishes.words)
    asked = [*(c.reason for c in plan.changes), *(r.reason for r in plan.refusals)]
    reasons = tuple(dict.fromkeys(asked))
    found = sorted(
        (_attempt(reason, plan, wishes, known) for reason in reasons),
        key=lambda each: (each.risk is not Risk.REBOOT, _rank(each, known)),
    )
    open_ = [each for each in found if each.outcome is None]
    if wishes.together and len(open_) > 1:
        found = [_together(open_), *(each for each in found if each.outcome is not None)]
    return tuple(found)


def _check_words(words: Sequence[str]) -> None:
    named: dict[str, str] = {}
    for word in words:
        check = check_of(word)
        if named.setdefault(check, word) != word:
            raise PlanError(f"{named[check]}, {word}: two fixes of {check}: try one at a time")


def check_of(word: str) -> str:
    """Return the check of CHECK or CHECK/FIX."""
    return "/".join(word.split("/")[:2])


def _attempt(
    reason: str, plan: PlanDocument, wishes: Wishes, known: Mapping[str, Check]
) -> Attempt:
    mine = [change for change in plan.changes if change.reason == reason]
    risk = max((change.risk for change in mine), key=list(Risk).index, default=Risk.SAFE)
    word = next((w for w in wishes.words if w.startswith(f"{reason}/")), reason)
    attempt = Attempt(
        checks=(word,),
        titles=tuple(dict.fromkeys(change.title for change in mine)),
        risk=risk,
        mends=reason in known and known[reason].mends,
    )
    if not mine:
        said = (f"{r.subject}: {r.why}" for r in plan.refusals if r.reason == reason)
        return ended(attempt, "refused", "; ".join(said))
    if risk is Risk.REBOOT and wishes.live:
        return ended(attempt, "left out", "takes boots, which live traffic does not allow")
    again = f"dirtune tune --check {shlex.quote(reason)}"
    if risk is Risk.REBOOT and not wishes.words:
        return ended(attempt, "left out", f"takes boots to judge: {again}")
    if risk is Risk.DISRUPTIVE and not wishes.words:
        return ended(attempt, "left out", f"may interrupt traffic: {again}")
    return attempt


def _rank(attempt: Attempt, known: Mapping[str, Check]) -> int:
    check = known.get(check_of(attempt.checks[0]))
    return 0 if check is None else check.severity.rank


def _together(open_: Sequence[Attempt]) -> Attempt:
    return Attempt(
        checks=tuple(word for each in open_ for word in each.checks),
        titles=tuple(title for each in open_ for title in each.titles),
        risk=max((each.risk for each in open_), key=list(Risk).index),
        mends=all(each.mends for each in open_),
    )


def ended(attempt: Attempt, outcome: Outcome, why: str) -> Attempt:
    """Return *attempt* as it came out."""
    return msgspec.structs.replace(attempt, outcome=outcome, why=why)


def keeps(verdict: Verdict, *, mends: bool, equivalent: bool = False) -> tuple[bool, str]:
    """Return whether a fix is kept after *verdict*, and the rule that says so.

    *mends*: it mends what goes wrong, so that costing nothing is enough; *equivalent*: that is
    enough for any.
    """
    if verdict == Verdict.IMPROVED:
        return True, "`improved` is kept"
    if verdict == Verdict.EQUIVALENT and mends:
        return True, "`equivalent`, and it mends what goes wrong: kept"
    if verdict == Verdict.EQUIVALENT and equivalent:
        return True, "`equivalent` is kept, as was asked"
    return False, f"`{verdict}` is not kept"


def judged(attempt: Attempt, found: Comparison, sentence: str, *, equivalent: bool) -> Attempt:
    """Return *attempt* with its verdict, kept or taken back by the rule."""
    keep, why = keeps(found.verdict, mends=attempt.mends, equivalent=equivalent)
    outcome: Outcome = "kept" if keep else "taken back"
    return msgspec.structs.replace(
        attempt, outcome=outcome, why=why, comparison=found, sentence=sentence
    )


def upcoming(session: Session) -> int | None:
    """Return which attempt is next, the first that is not over; None after the last."""
    over = (number for number, each in enumerate(session.attempts) if each.outcome is None)
    return next(over, None)


def with_attempt(session: Session, number: int, attempt: Attempt) -> Session:
    """Return *session* with another attempt at that place."""
    found = list(session.attempts)
    found[number] = attempt
    return msgspec.structs.replace(session, attempts=tuple(found))


def lease_s(plan: Plan) -> int:
    """Return how long the director keeps a fix on trial that nobody renews or confirms.

    It outlasts every trial, and is renewed after each: the fix of a controller that died is
    taken back by the director itself when this time is over.
    """
    return math.ceil(plan.settle.max_s + 2 * plan.load.load_s + _SLOWEST_S)


def boot_arms(replicates: int) -> str:
    """Return the arm of each boot, in turn so that drift falls on both alike: ABBAAB for 3."""
    return ("ABBA" * replicates)[: 2 * replicates]


def boot_trials(number: int, arm: str) -> tuple[str, ...]:
    """Return the ids of a boot's trials; the first pays for what is cold and is not judged."""
    return tuple(f"b{number}-{place}-{arm}" for place in range(TRIALS_PER_BOOT + 1))


def next_boot(trials: Sequence[Trial], arms: str) -> int | None:
    """Return the number, from 1, of the first boot without all its trials; None if all have."""
    done = {trial.id for trial in trials}
    for number, arm in enumerate(arms, 1):
        if not done.issuperset(boot_trials(number, arm)):
            return number
    return None


def boot_stage(boot: Boot | None, number: int, boot_id: str) -> str:
    """Return what boot *number* is at: `prepare` the director, `wait` for the boot, `measure`."""
    if boot is None or boot.number != number:
        return "prepare"
    return "wait" if boot.before == boot_id else "measure"


def boot_means(trials: Sequence[Trial], metric: str) -> Arms:
    """Return each boot's mean as one value; trials of one boot are no replicates."""
    boots: dict[tuple[str, str], list[float]] = {}
    judged = [trial for trial in trials if trial.kind == TrialKind.JUDGED]
    for trial in judged:
        if trial.valid and metric in trial.metrics:
            key = (trial.arm, trial.id.split("-")[0])
            boots.setdefault(key, []).append(trial.metrics[metric])
    means = {key: statistics.fmean(values) for key, values in boots.items()}
    counted = sum(map(len, boots.values()))
    return Arms(
        before=tuple(mean for (arm, _), mean in means.items() if arm == "A"),
        after=tuple(mean for (arm, _), mean in means.items() if arm == "B"),
        paired=False,
        invalid=len(judged) - counted,
    )
