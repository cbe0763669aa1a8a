"""Decide the next step of `dirtune tune`, and if a fix is kept. Pure.

A session is a queue of attempts. Each attempt tries one fix, or all fixes together, in a run of
its own. The next step is derived from the session and the trials on disk. Therefore a session that
was interrupted, or waits for a boot, continues where it stopped.
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
    """The outcome of an attempt to try a fix.

    The values appear on disk and in JSON (`dirtune/tune/1`).
    """

    KEPT = "kept"
    ROLLED_BACK = "taken back"
    SKIPPED = "left out"
    REFUSED = "refused"
    FAILED = "failed"
    GONE = "gone"
    """The director no longer has the finding."""


class Stage(StrEnum):
    """The next step for a boot that a run needs: prepare, wait or measure."""

    PREPARE = "prepare"
    """The fix must still be applied or rolled back for this boot."""
    WAIT = "wait"
    """Somebody has to boot the director."""
    MEASURE = "measure"
    """The director has booted."""


BOOTS = 5
"""Boots with the fix, and as many without it; fewer than five of each give no verdict."""
TRIALS_PER_BOOT = 3
_SLOWEST_S = 400
"""Longest time in seconds for connecting, compiling probes and an audit."""
_READING_S = 60
"""Longest time in seconds in which a trial reads the nodes and waits for the last replies."""


class Boot(msgspec.Struct, frozen=True):
    """The boot for which an attempt waits, or which it is measuring."""

    number: int
    before: str
    """The boot_id of the director before this boot."""


class Attempt(msgspec.Struct, frozen=True):
    """An attempt to improve the director with one fix, or with all fixes together."""

    checks: tuple[str, ...]
    """The fixes to try, as arguments of `dirtune fix apply`: CHECK or CHECK/FIX."""
    titles: tuple[str, ...] = ()
    """The titles of the changes that the fixes make."""
    risk: Risk = Risk.SAFE
    mends: bool = False
    """Whether the fix corrects a fault, and does not only make something faster."""
    run: str | None = None
    """Name of the folder of the attempt's run, next to the folder of the session; None before the
    run begins."""
    boot: Boot | None = None
    outcome: Outcome | None = None
    """The outcome; None while the attempt is not over."""
    why: str = ""
    """The reason for the outcome."""
    journal: str | None = None
    """Name of the journal on the director that records the kept fix; None if no fix was kept."""
    comparison: Comparison | None = None
    """The comparison of the primary metric; None without a verdict."""
    sentence: str = ""
    """The verdict as a sentence."""

    @property
    def name(self) -> str:
        """The name of the attempt: its checks, separated by commas."""
        return ", ".join(self.checks)


class Session(msgspec.Struct, frozen=True):
    """A session of `dirtune tune`, as it is stored on disk (`dirtune/tune/1`)."""

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
    """Whether the session measures real traffic and sends no load."""
    keep_equivalent: bool = False
    """Whether a fix that makes no difference is kept as well."""
    notes: tuple[str, ...] = ()
    number: int = 0
    """Number of the session, higher than that of every earlier session; 0 if an older dirtune
    wrote it."""
    schema: str = "dirtune/tune/1"


@dataclass(frozen=True, slots=True)
class Trying:
    """The fix that an attempt measures, and the settings of the measurement."""

    plan: Plan
    checks: tuple[str, ...]
    """The checks whose fixes the attempt tries together."""
    title: str
    command: str
    """The command line that the user typed."""
    mends: bool = False
    """Whether the fix corrects a fault, and does not only make something faster."""
    keep_equivalent: bool = False
    """Whether a fix that makes no difference is kept as well."""
    scenario: dict[str, object] | None = None
    still: tuple[Trial, ...] = ()
    """The trials of an A/A run (no fix in either arm) of the same plan; empty if there was
    none."""

    def noise_floor(
        self, metric: str, rate: float | None, covariate: str | None = None
    ) -> float | None:
        """Return the noise floor of *metric* as a share; None if there was no A/A run.

        *rate* is one of `Plan.compared_at`, and *covariate* is as for `compare.floor_of`.
        """
        if not self.still:
            return None
        return compare.floor_of(self.still, metric, rate or self.plan.pair_rates[0], covariate)

    def covariate(self, metric: str) -> str | None:
        """Return the metric for whose differences *metric* is adjusted; None for no adjustment."""
        compared = self.plan.compare
        return compared.covariate if metric == compared.primary else None


@dataclass(frozen=True, slots=True)
class Wishes:
    """The options of the user for a session."""

    words: tuple[str, ...] = ()
    """The fixes to try, as CHECK or CHECK/FIX; empty to try every fix that is safe to apply."""
    together: bool = False
    """Whether one attempt tries all fixes together."""
    live: bool = False
    """Whether the session measures real traffic, which no boot may interrupt."""


def attempts(
    plan: PlanDocument, wishes: Wishes, known: Mapping[str, Check]
) -> tuple[Attempt, ...]:
    """Return the queue of attempts, one for each fix in *plan*.

    Fixes that need a boot come first, because a boot undoes fixes that were kept only in the
    running system; the others follow by severity. A fix that needs a boot or may interrupt traffic
    is tried only if the user named it; otherwise its attempt is skipped, with the reason. Raises
    `PlanError` if the user named two fixes of the same check, because the journals on the director
    name only the check, and would not show which fix an interrupted run left active.
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


def by_pairs(attempt: Attempt) -> bool:
    """Whether *attempt* is still to be measured, in pairs of trials and not over boots."""
    return attempt.outcome is None and attempt.risk is not Risk.REBOOT


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
    named = f"To try it, run: dirtune tune --check {shlex.quote(reason)}"
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
    """Return *attempt* with its outcome and the reason for the outcome."""
    return msgspec.structs.replace(attempt, outcome=outcome, why=why)


def keeps(verdict: Verdict, *, mends: bool, equivalent: bool = False) -> tuple[bool, str]:
    """Return whether a fix with this verdict is kept, and the rule that decided it.

    A fix is kept if the verdict is `improved`. With the verdict `equivalent`, a fix is kept only
    if it corrects a fault (*mends*) or if *equivalent* is True.
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
    """Return *attempt* with its comparison, and with the outcome kept or rolled back."""
    keep, why = keeps(comparison.verdict, mends=attempt.mends, equivalent=equivalent)
    outcome = Outcome.KEPT if keep else Outcome.ROLLED_BACK
    return msgspec.structs.replace(
        attempt, outcome=outcome, why=why, comparison=comparison, sentence=sentence
    )


def upcoming(session: Session) -> int | None:
    """Return the index of the first attempt that is not over; None if all attempts are over."""
    open_ = (n for n, attempt in enumerate(session.attempts) if attempt.outcome is None)
    return next(open_, None)


def with_attempt(session: Session, number: int, attempt: Attempt) -> Session:
    """Return *session* with *attempt* in place of the attempt at the index *number*."""
    attempts = list(session.attempts)
    attempts[number] = attempt
    return msgspec.structs.replace(session, attempts=tuple(attempts))


def lease_s(plan: Plan) -> int:
    """Return the lease of a fix on trial, in seconds.

    The director rolls the fix back when the lease ends, for example because the controller died.
    The lease is longer than two trials, or than the trial that connects to the nodes and compiles
    probes.
    """
    return math.ceil(2 * trial_s(plan) + _SLOWEST_S)


def trial_s(plan: Plan) -> float:
    """Return the longest time that a trial between two others may take, in seconds."""
    return plan.settle.max_s + plan.load.load_s + _READING_S


def boot_arms(replicates: int) -> str:
    """Return the arm of each boot, with *replicates* boots of A (no fix) and of B (with the fix).

    The order ABBA ABBA ... spreads drift evenly over both arms.
    """
    return ("ABBA" * replicates)[: 2 * replicates]


def boot_trials(number: int, arm: str) -> tuple[str, ...]:
    """Return the ids of the trials after a boot; the first is a warm-up and is not judged."""
    return tuple(f"b{number}-{place}-{arm}" for place in range(TRIALS_PER_BOOT + 1))


def next_boot(trials: Sequence[Trial], arms: str) -> int | None:
    """Return the number of the first boot that lacks a trial, counted from 1.

    The result is None if no trial is missing.
    """
    done = {trial.id for trial in trials}
    for number, arm in enumerate(arms, 1):
        if not done.issuperset(boot_trials(number, arm)):
            return number
    return None


def boot_stage(boot: Boot | None, number: int, boot_id: str) -> Stage:
    """Return the stage of boot *number*.

    *boot* is the boot for which the director was prepared last, and *boot_id* the director's
    current boot_id.
    """
    if boot is None or boot.number != number:
        return Stage.PREPARE
    return Stage.WAIT if boot.before == boot_id else Stage.MEASURE


def boot_means(trials: Sequence[Trial], metric: str) -> Arms:
    """Return the mean of *metric* over the trials of each boot, for both arms.

    A boot counts as a single value, because trials after the same boot are not independent.
    """
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
