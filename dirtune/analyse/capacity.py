"""Compute a director's peak and knee from trials at several rates. Pure.

The peak is the highest reply rate, whatever the loss. The knee is the highest offered rate that
meets a loss goal. The two differ: in 2001 the same director had a peak of 4270 connections/s and a
knee of 3640. Only valid trials count; the number of invalid trials is always reported.
"""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from dirtune.analyse.run import Knee, KneeLimit, Trial, TrialKind
from dirtune.analyse.words import counted

_KEPT_UP = 0.97
_LOST = 0.05
SWEEP_KINDS = frozenset({TrialKind.JUDGED, TrialKind.BASELINE})


class Point(NamedTuple):
    """The mean results of all valid trials at one offered rate."""

    offered: float
    """Connections/s."""
    reply_rate: float
    """Mean reply rate of the trials, in replies/s."""
    sd: float | None
    """Standard deviation of the trials' reply rates; None with fewer than two trials."""
    loss: float
    """Share of the attempted connections that got no good reply in time: 0.01 means 1 %."""
    trials: int


def curve(trials: Sequence[Trial]) -> tuple[Point, ...]:
    """Return the results at each offered rate of a sweep, the lowest rate first."""
    by_rate: dict[float, list[Trial]] = {}
    for trial in trials:
        if trial.valid and trial.kind in SWEEP_KINDS and trial.attempted:
            by_rate.setdefault(trial.offered_rate, []).append(trial)
    return tuple(_point(rate, by_rate[rate]) for rate in sorted(by_rate))


def probed(trials: Sequence[Trial]) -> Point | None:
    """Return the mean result of all valid closed-loop trials; None if there are none."""
    peaks = [t for t in trials if t.valid and t.kind == TrialKind.PEAK and t.attempted]
    return _point(statistics.fmean(t.offered_rate for t in peaks), peaks) if peaks else None


def peak(points: Sequence[Point]) -> Point | None:
    """Return the point with the highest reply rate; None if *points* is empty."""
    return max(points, key=lambda point: point.reply_rate, default=None)


def saturated(points: Sequence[Point]) -> bool:
    """Return whether a sweep tried rates high enough to reach the peak.

    The peak is reached if, at some rate, the replies were 3 % fewer than the offered connections
    or 5 % of the connections were lost. Otherwise a higher rate might have given more replies.
    """
    return any(p.reply_rate < _KEPT_UP * p.offered or p.loss > _LOST for p in points)


def not_counted(trials: Sequence[Trial]) -> int:
    """Return the number of invalid trials."""
    return sum(not trial.valid for trial in trials)


def attempts_for(goal: float) -> int:
    """Return how many attempts without a loss prove, with 95 % confidence, a loss below *goal*.

    *goal* is a share of the attempted connections.
    """
    return math.ceil(math.log(0.05) / math.log1p(-goal)) if goal > 0 else 0


def ended(limit: KneeLimit, goal: float, attempts: int) -> str:
    """Return the reason why a search for the knee ended, in words.

    *goal* is the loss goal as a share, and *attempts* the number of attempted connections in the
    trials that met the goal.
    """
    reason = {
        KneeLimit.SYSTEM: "a higher rate lost more than the loss goal allows",
        KneeLimit.CLIENTS: "the clients could not offer a higher rate",
        KneeLimit.RANGE: "the plan asks for no higher rate",
    }[limit]
    if not attempts:
        lost = "even the lowest rate lost more than the loss goal allows"
        return lost if limit == KneeLimit.SYSTEM else reason
    if goal and attempts < (needed := attempts_for(goal)):
        return (
            f"{reason}; {attempts:,} attempts are too few to show a loss below {100 * goal:g} %: "
            f"{needed:,} would be needed"
        )
    return reason


def confirmed(knee: Knee, trials: Sequence[Trial]) -> Knee:
    """Return *knee* with the result of its confirming trials.

    The confirming trials are steady trials at 0.95 and 1.05 times the knee's rate.
    """
    if any(not trial.valid for trial in trials):
        return _with(knee, "the steady trials around the knee's rate are not all valid")
    losses = [(t.attempted - t.replied) / max(t.attempted, 1) for t in trials]
    if losses[0] > knee.loss_goal:
        lost = f"a steady trial at 0.95 times the knee's rate lost {100 * losses[0]:.3f} %"
        return _with(knee, lost, agreed=False)
    if len(losses) > 1 and losses[1] <= knee.loss_goal:
        met = "a steady trial at 1.05 times the knee's rate met the goal as well"
        return _with(knee, met, agreed=False)
    return _with(knee, "steady trials around the knee's rate agree", agreed=True)


def in_words(knee: Knee) -> str:
    """Return one line with the loss goal, the knee's rate, and the reason why the search ended."""
    goal = f"at most {100 * knee.loss_goal:g} % lost"
    if knee.rate is None:
        rate = "no rate"
    elif knee.limit == KneeLimit.CLIENTS:
        rate = f">= {knee.rate:.5g}/s (client-limited)"
    elif knee.limit == KneeLimit.RANGE or knee.above is None:
        rate = f">= {knee.rate:.5g}/s"
    else:
        rate = f"{knee.rate:.5g}/s (below {knee.above:.5g}/s)"
    trials = f"{counted(knee.trials, 'valid trial')}, {knee.invalid} invalid"
    return f"{goal}: {rate}; {knee.reason}; {trials}"


def _with(knee: Knee, reason: str, *, agreed: bool | None = None) -> Knee:
    return msgspec.structs.replace(knee, confirmed=agreed, reason=f"{knee.reason}; {reason}")


def _point(rate: float, trials: Sequence[Trial]) -> Point:
    rates = [trial.reply_rate for trial in trials]
    attempted = sum(trial.attempted for trial in trials)
    lost = attempted - sum(trial.replied for trial in trials)
    sd = statistics.stdev(rates) if len(rates) > 1 else None
    return Point(rate, statistics.fmean(rates), sd, lost / attempted, len(trials))
