"""The decisions of the closed loop: the next step, and whether a fix is kept. Pure.

A session is a queue of attempts, each one fix (or all together) that a run of its own measures.
The remaining work is a function of the session and the trials on disk, so a session that was
interrupted, or waits for a boot, continues where it was.
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
    """The end of an attempt. The values are those of `dirtune/tune/1`, on disk and in JSON."""

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
    """The director is to be brought into the boot's arm."""
    WAIT = "wait"
    """Somebody has to boot the director."""
    MEASURE = "measure"
    """The director has booted."""


BOOTS = 5
"""Boots of each arm; fewer than five values per arm give no verdict."""
TRIALS_PER_BOOT = 3
_SLOWEST_S = 600
"""Limit of a trial's time beside its load: reaching nodes, compiling probes, an audit."""


class Boot(msgspec.Struct, frozen=True):
    """The boot that an attempt waits for, or is in."""

    number: int
    before: str
    """The boot_id of the director when it was prepared for this boot."""


class Attempt(msgspec.Struct, frozen=True):
    """One fix, or all together, and the outcome."""

    checks: tuple[str, ...]
    """Arguments of `dirtune fix apply`."""
    titles: tuple[str, ...] = ()
    """Titles of the changes."""
    risk: Risk = Risk.SAFE
    mends: bool = False
    """Whether it mends a fault, and not only something slow."""
    run: str | None = None
    """Folder of its run, beside the session's; None before the run begins."""
    boot: Boot | None = None
    outcome: Outcome | None = None
    """None before the attempt is over."""
    why: str = ""
    """The rule or the reason behind the outcome."""
    journal: str | None = None
    """Journal on the director of a fix that was kept."""
    comparison: Comparison | None = None
    """Comparison of the primary metric."""
    sentence: str = ""
    """The verdict in words."""

    @property
    def name(self) -> str:
        """The checks, as one text."""
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
    """Whether it measures real traffic, without a load generator."""
    keep_equivalent: bool = False
    """Whether any fix is kept that makes no difference."""
    standing: tuple[str, ...] = ()
    """Journals that were in force on the director before; the session does not roll them back."""
    notes: tuple[str, ...] = ()
    number: int = 0
    """Number above that of every earlier session; 0 in a session of an older version."""
    schema: str = "dirtune/tune/1"


@dataclass(frozen=True, slots=True)
class Trying:
    """The fix that one turn of the loop measures, and how."""

    plan: Plan
    checks: tuple[str, ...]
    """The checks whose fixes are tried, together."""
    title: str
    command: str
    """The command line of the user."""
    mends: bool = False
    """Whether the fix mends a fault, and not only something slow."""
    keep_equivalent: bool = False
    """Whether any fix is kept that makes no difference."""
    standing: tuple[str, ...] = ()
    """Journals on the director that the loop does not roll back."""
    scenario: dict[str, object] | None = None
    still: tuple[Trial, ...] = ()
    """The trials of an A/A run of the same plan; empty without one."""

    def noise_floor(self, metric: str, rate: float | None) -> float | None:
        """Return the noise floor of *metric* at one of `Plan.compared_at`, as a share.

        None without an A/A run.
        """
        if not self.still:
            return None
        return compare.floor_of(self.still, metric, rate or self.plan.pair_rates[0])


@dataclass(frozen=True, slots=True)
class Wishes:
    """The user's options."""

    words: tuple[str, ...] = ()
    """CHECK or CHECK/FIX; empty for all that the director's dirtune can fix safely."""
    together: bool = False
    """Whether all fixes are one attempt."""
    live: bool = False
    """Whether real traffic is measured, which no boot may interrupt."""


def attempts(
    plan: PlanDocument, wishes: Wishes, known: Mapping[str, Check]
) -> tuple[Attempt, ...]:
    """Return the queue: fixes that need boots first, then by severity.

    A boot undoes what an earlier attempt kept at run time. A fix that takes boots or may interrupt
    traffic is tried only if it is named; otherwise its attempt is skipped, with the reason.
    `PlanError` if two fixes of one check are named: the director knows both by the same finding,
    so it could not tell which of them a run left in force.
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
        refusals = (f"{r.subject}: {r.why}" for r in plan.refusals if r.reason == reason)
        return ended(attempt, Outcome.REFUSED, "; ".join(refusals))
    named = f"Name it to try it: dirtune tune --check {shlex.quote(reason)}"
    if risk is Risk.REBOOT and wishes.live:
        why = "The fix needs boots, which live traffic does not allow."
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
    """Return whether a fix is kept after *verdict*, and the rule that says so.

    A fix that *mends* a fault is also kept if it is `equivalent`; with *equivalent*, any fix is.
    """
    if verdict == Verdict.IMPROVED:
        return True, "A fix with the verdict `improved` is kept."
    if verdict == Verdict.EQUIVALENT and mends:
        return True, "A fix that mends a fault is kept with the verdict `equivalent`, too."
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
    """Return the number of the first attempt that is not over, from 0; None after the last."""
    open_ = (n for n, attempt in enumerate(session.attempts) if attempt.outcome is None)
    return next(open_, None)


def with_attempt(session: Session, number: int, attempt: Attempt) -> Session:
    """Return *session* with *attempt* as its attempt *number*, from 0."""
    attempts = list(session.attempts)
    attempts[number] = attempt
    return msgspec.structs.replace(session, attempts=tuple(attempts))


def lease_s(plan: Plan) -> int:
    """Return the seconds for which the director keeps a fix that nobody renews or confirms.

    They outlast every trial, and are renewed after each. If the controller dies, the director
    rolls the fix back when they are over.
    """
    return math.ceil(plan.settle.max_s + 2 * plan.load.load_s + _SLOWEST_S)


def boot_arms(replicates: int) -> str:
    """Return the arm of each boot, in turn so that drift falls on both alike: ABBAAB for 3."""
    return ("ABBA" * replicates)[: 2 * replicates]


def boot_trials(number: int, arm: str) -> tuple[str, ...]:
    """Return the ids of a boot's trials; the first one warms up and is not judged."""
    return tuple(f"b{number}-{place}-{arm}" for place in range(TRIALS_PER_BOOT + 1))


def next_boot(trials: Sequence[Trial], arms: str) -> int | None:
    """Return the number, from 1, of the first boot without all its trials; None if all have."""
    done = {trial.id for trial in trials}
    for number, arm in enumerate(arms, 1):
        if not done.issuperset(boot_trials(number, arm)):
            return number
    return None


def boot_stage(boot: Boot | None, number: int, boot_id: str) -> Stage:
    """Return the stage of boot *number*, where *boot* was prepared last."""
    if boot is None or boot.number != number:
        return Stage.PREPARE
    return Stage.WAIT if boot.before == boot_id else Stage.MEASURE


def boot_means(trials: Sequence[Trial], metric: str) -> Arms:
    """Return each boot's mean as one value; trials of one boot are no replicates."""
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
