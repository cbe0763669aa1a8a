"""The decisions of the closed loop: the next step, and whether a fix is kept. Pure.

A session is a queue of attempts. Each attempt tries one fix, or all fixes together, in its own
run. The remaining work is a function of the session and the trials on disk. So a session that was
interrupted, or waits for a boot, continues where it stopped.
"""

import math
import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from dirtune.analyse import compare
from dirtune.analyse.arms import Arms
from dirtune.analyse.run import Comparison, Trial, TrialKind, Verdict
from dirtune.change.documents import PlanDocument
from dirtune.checks import Check, Risk
from dirtune.errors import PlanError
from dirtune.plan.tables import Plan


class Outcome(StrEnum):
    """The outcome of an attempt. The values appear on disk and in JSON (`dirtune/tune/1`)."""

    KEPT = "kept"
    ROLLED_BACK = "taken back"
    SKIPPED = "left out"
    REFUSED = "refused"
    FAILED = "failed"
    GONE = "gone"
    """An earlier fix removed the finding."""


class Stage(StrEnum):
    """The state of a boot that a run needs."""

    PREPARE = "prepare"
    """The director must be switched to the arm of the boot."""
    WAIT = "wait"
    """Somebody has to boot the director."""
    MEASURE = "measure"
    """The director has booted."""


BOOTS = 5
"""Boots per arm; fewer than five values per arm give no verdict."""
TRIALS_PER_BOOT = 3
_SLOWEST_S = 600
"""Most seconds that a trial takes besides its load: to connect, compile probes and audit."""


class Boot(msgspec.Struct, frozen=True):
    """The boot that an attempt waits for, or that it is measuring."""

    number: int
    before: str
    """The boot_id of the director when it was prepared for this boot."""


class Attempt(msgspec.Struct, frozen=True):
    """An attempt to improve the director with one fix, or with all fixes together."""

    checks: tuple[str, ...]
    """Arguments of `dirtune fix apply`."""
    titles: tuple[str, ...] = ()
    """Titles of the changes."""
    risk: Risk = Risk.SAFE
    mends: bool = False
    """Whether the fix mends a fault, rather than only making something faster."""
    run: str | None = None
    """Name of the run's folder, next to the session's folder; None before the run begins."""
    boot: Boot | None = None
    outcome: Outcome | None = None
    """None before the attempt is over."""
    why: str = ""
    """The rule or the reason behind the outcome."""
    journal: str | None = None
    """Name of the director's journal for a fix that was kept."""
    comparison: Comparison | None = None
    """Comparison of the primary metric."""
    sentence: str = ""
    """The verdict in words."""

    @property
    def name(self) -> str:
        """The checks, separated by commas."""
        return ", ".join(self.checks)


class Session(msgspec.Struct, frozen=True):
    """One session of `dirtune tune`, as stored on disk (`dirtune/tune/1`)."""

    id: str
    started: str
    """Start of the session, in UTC (ISO 8601)."""
    command: str
    version: str
    title: str
    plan: dict[str, object]
    attempts: tuple[Attempt, ...]
    finished: str | None = None
    live: bool = False
    """Whether the session measures real traffic, without a load generator."""
    keep_equivalent: bool = False
    """Whether a fix that makes no difference is kept, too."""
    standing: tuple[str, ...] = ()
    """Journals in force on the director before the session, which does not roll them back."""
    notes: tuple[str, ...] = ()
    number: int = 0
    """Number of the session, higher than all earlier ones; 0 if an older dirtune wrote it."""
    schema: str = "dirtune/tune/1"


@dataclass(frozen=True, slots=True)
class Trying:
    """The fix that one turn of the loop measures, and the settings for it."""

    plan: Plan
    checks: tuple[str, ...]
    """The checks whose fixes are tried together."""
    title: str
    command: str
    """The command line of the user."""
    mends: bool = False
    """Whether the fix mends a fault, rather than only making something faster."""
    keep_equivalent: bool = False
    """Whether a fix that makes no difference is kept, too."""
    standing: tuple[str, ...] = ()
    """Journals on the director that the loop does not roll back."""
    scenario: dict[str, object] | None = None
    still: tuple[Trial, ...] = ()
    """The trials of an A/A run of the same plan; empty without one."""

    def noise_floor(self, metric: str, rate: float | None) -> float | None:
        """Return the noise floor of *metric* at *rate*, one of `Plan.compared_at`, as a share.

        Returns None without an A/A run.
        """
        if not self.still:
            return None
        return compare.floor_of(self.still, metric, rate or self.plan.pair_rates[0])


@dataclass(frozen=True, slots=True)
class Wishes:
    """The user's options."""

    words: tuple[str, ...] = ()
    """Fixes to try, as CHECK or CHECK/FIX; empty to try every fix that is safe to apply."""
    together: bool = False
    """Whether all fixes are one attempt."""
    live: bool = False
    """Whether real traffic is measured, which no boot may interrupt."""


def attempts(
    plan: PlanDocument, wishes: Wishes, known: Mapping[str, Check]
) -> tuple[Attempt, ...]:
    """Return the queue of attempts, ordered by the need of a boot and by severity.

    Fixes that need boots come first, because a boot undoes fixes that an earlier attempt kept at
    run time. A fix that needs boots, or may interrupt traffic, is tried only if it is named;
    otherwise its attempt is skipped, with the reason. Raises `PlanError` if two fixes of one check
    are named: the director files both under the same finding, so dirtune could not find out which
    of them an interrupted run left in force.
    """
    _check_words(wishes.words)
    reasons = [*(c.reason for c in plan.changes), *(r.reason for r in plan.refusals)]
    queue = sorted(
        (_attempt(reason, plan, wishes, known) for reason in dict.fromkeys(reasons)),
        key=lambda attempt: (attempt.risk is not Risk.REBOOT, _rank(attempt, known)),
    )
    open_ = [attempt for attempt in queue if attempt.outcome is None]
    if wishes.together and len(open_) > 1:
        queue = [_together(open_), *(attempt for attempt in queue if attempt.outcome is not None)]
    return tuple(queue)


def _check_words(words: Sequence[str]) -> None:
    named: dict[str, str] = {}
    for word in words:
        check = check_of(word)
        if named.setdefault(check, word) != word:
            raise PlanError(
                f"{named[check]} and {word} are two fixes of {check}. Try one at a time."
            )


def check_of(word: str) -> str:
    """Return the id of the check in *word*, which is CHECK or CHECK/FIX."""
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
        refusals = (f"{r.subject}: {r.why}" for r in plan.refusals if r.reason == reason)
        return ended(attempt, Outcome.REFUSED, "; ".join(refusals))
    named = f"Name it to try it: dirtune tune --check {shlex.quote(reason)}"
    if risk is Risk.REBOOT and wishes.live:
        why = "The fix needs boots, which would interrupt the live traffic."
        return ended(attempt, Outcome.SKIPPED, why)
    if risk is Risk.REBOOT and not wishes.words:
        return ended(attempt, Outcome.SKIPPED, f"The fix needs boots. {named}")
    if risk is Risk.DISRUPTIVE and not wishes.words:
        return ended(attempt, Outcome.SKIPPED, f"The fix may interrupt traffic. {named}")
    return attempt


def _rank(attempt: Attempt, known: Mapping[str, Check]) -> int:
    check = known.get(check_of(attempt.checks[0]))
    return 0 if check is None else check.severity.rank


def _together(open_: Sequence[Attempt]) -> Attempt:
    return Attempt(
        checks=tuple(word for attempt in open_ for word in attempt.checks),
        titles=tuple(title for attempt in open_ for title in attempt.titles),
        risk=max((attempt.risk for attempt in open_), key=list(Risk).index),
        mends=all(attempt.mends for attempt in open_),
    )


def ended(attempt: Attempt, outcome: Outcome, why: str) -> Attempt:
    """Return *attempt* with its outcome."""
    return msgspec.structs.replace(attempt, outcome=outcome, why=why)


def keeps(verdict: Verdict, *, mends: bool, equivalent: bool = False) -> tuple[bool, str]:
    """Return whether a fix is kept after *verdict*, and the rule that decides.

    A fix that *mends* a fault is also kept with the verdict `equivalent`. If *equivalent* is True,
    any fix is kept with that verdict.
    """
    if verdict == Verdict.IMPROVED:
        return True, "A fix with the verdict `improved` is kept."
    if verdict == Verdict.EQUIVALENT and mends:
        return True, "A fix that mends a fault is kept even with the verdict `equivalent`."
    if verdict == Verdict.EQUIVALENT and equivalent:
        return True, "A fix with the verdict `equivalent` is kept because of --keep-equivalent."
    return False, f"A fix with the verdict `{verdict}` is not kept."


def judged(
    attempt: Attempt, comparison: Comparison, sentence: str, *, equivalent: bool
) -> Attempt:
    """Return *attempt* with its verdict, kept or rolled back by the rule of `keeps`."""
    keep, why = keeps(comparison.verdict, mends=attempt.mends, equivalent=equivalent)
    outcome = Outcome.KEPT if keep else Outcome.ROLLED_BACK
    return msgspec.structs.replace(
        attempt, outcome=outcome, why=why, comparison=comparison, sentence=sentence
    )


def upcoming(session: Session) -> int | None:
    """Return the index of the first attempt that is not over; None if all are over."""
    open_ = (n for n, attempt in enumerate(session.attempts) if attempt.outcome is None)
    return next(open_, None)


def with_attempt(session: Session, number: int, attempt: Attempt) -> Session:
    """Return *session* with *attempt* at the index *number*."""
    attempts = list(session.attempts)
    attempts[number] = attempt
    return msgspec.structs.replace(session, attempts=tuple(attempts))


def lease_s(plan: Plan) -> int:
    """Return the seconds for which the director keeps a fix that nobody renews or confirms.

    This lease outlasts every trial, and is renewed after each one. If the controller dies, the
    director rolls the fix back when the lease ends.
    """
    return math.ceil(plan.settle.max_s + 2 * plan.load.load_s + _SLOWEST_S)


def boot_arms(replicates: int) -> str:
    """Return the arm of each boot, in an order that spreads drift evenly: ABBAAB for 3."""
    return ("ABBA" * replicates)[: 2 * replicates]


def boot_trials(number: int, arm: str) -> tuple[str, ...]:
    """Return the ids of a boot's trials; the first one warms up and is not judged."""
    return tuple(f"b{number}-{place}-{arm}" for place in range(TRIALS_PER_BOOT + 1))


def next_boot(trials: Sequence[Trial], arms: str) -> int | None:
    """Return the number, from 1, of the first boot that lacks a trial; None if none does."""
    done = {trial.id for trial in trials}
    for number, arm in enumerate(arms, 1):
        if not done.issuperset(boot_trials(number, arm)):
            return number
    return None


def boot_stage(boot: Boot | None, number: int, boot_id: str) -> Stage:
    """Return the stage of boot *number*; *boot* is the boot that was prepared last."""
    if boot is None or boot.number != number:
        return Stage.PREPARE
    return Stage.WAIT if boot.before == boot_id else Stage.MEASURE


def boot_means(trials: Sequence[Trial], metric: str) -> Arms:
    """Return each boot's mean as one value, because trials of one boot are not replicates."""
    boots: dict[tuple[str, str], list[float]] = {}
    warm = [trial for trial in trials if trial.kind == TrialKind.JUDGED]
    for trial in warm:
        if trial.valid and metric in trial.metrics:
            key = (trial.arm, trial.id.split("-")[0])
            boots.setdefault(key, []).append(trial.metrics[metric])
    means = {key: statistics.fmean(values) for key, values in boots.items()}
    counted = sum(map(len, boots.values()))
    return Arms(
        before=tuple(mean for (arm, _), mean in means.items() if arm == "A"),
        after=tuple(mean for (arm, _), mean in means.items() if arm == "B"),
        paired=False,
        invalid=len(warm) - counted,
    )
