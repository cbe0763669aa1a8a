"""What a sweep and a search found: the curve, its peak, the knee in words. Pure.

Only valid trials count, and how many did not is always said. The peak is the highest reply rate
at any loss; the knee is the highest offered rate that meets a named loss goal. One without the
other is not a result: the same director gave 4270 and 3640 in 2001, depending on which.
"""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from dirtune.analyse.run import Knee, KneeLimit, Trial, TrialKind

_KEPT_UP = 0.97
_LOST = 0.05
SWEEP_KINDS = frozenset({TrialKind.JUDGED, TrialKind.BASELINE})


class Point(NamedTuple):
    """The valid trials at one offered rate."""

    offered: float
    """Connections/s."""
    reply_rate: float
    """Mean of the trials, replies/s."""
    sd: float | None
    """Between the trials; None with fewer than two."""
    loss: float
    """Share of the attempted connections without a good reply in time."""
    trials: int


def curve(trials: Sequence[Trial]) -> tuple[Point, ...]:
    """Return the points of a sweep, from the lowest offered rate up."""
    by_rate: dict[float, list[Trial]] = {}
    for trial in trials:
        if trial.valid and trial.kind in SWEEP_KINDS and trial.attempted:
            by_rate.setdefault(trial.offered_rate, []).append(trial)
    return tuple(_point(rate, by_rate[rate]) for rate in sorted(by_rate))


def probed(trials: Sequence[Trial]) -> Point | None:
    """Return what a closed loop made, all its valid trials together; None without one."""
    found = [t for t in trials if t.valid and t.kind == TrialKind.PEAK and t.attempted]
    return _point(statistics.fmean(t.offered_rate for t in found), found) if found else None


def peak(points: Sequence[Point]) -> Point | None:
    """Return the point with the highest reply rate; None without points."""
    return max(points, key=lambda point: point.reply_rate, default=None)


def saturated(points: Sequence[Point]) -> bool:
    """Tell whether a sweep went far enough for its peak to be one.

    Somewhere replies must fall 3 % behind what is offered, or 5 % be lost; else the highest rate
    that was tried says nothing of what could be made.
    """
    return any(p.reply_rate < _KEPT_UP * p.offered or p.loss > _LOST for p in points)


def not_counted(trials: Sequence[Trial]) -> int:
    """Return how many trials did not count."""
    return sum(not trial.valid for trial in trials)


def attempts_for(goal: float) -> int:
    """Return how many attempts without a loss say, at 95 %, that less than *goal* is lost."""
    return math.ceil(math.log(0.05) / math.log1p(-goal)) if goal > 0 else 0


def ended(limit: KneeLimit, goal: float, attempts: int) -> str:
    """Return how a search ended, in words; *attempts* were made in trials that met the goal."""
    said = {
        KneeLimit.SYSTEM: "more is lost above it",
        KneeLimit.CLIENTS: "the clients could not make more",
        KneeLimit.RANGE: "the highest rate that was asked for",
    }[limit]
    if not attempts:
        return "even the lowest rate missed the goal" if limit == KneeLimit.SYSTEM else said
    if goal and attempts < (needed := attempts_for(goal)):
        return f"{said}; {attempts:,} attempts are too few to tell {goal:.3%}, {needed:,} would do"
    return said


def confirmed(knee: Knee, trials: Sequence[Trial]) -> Knee:
    """Return *knee* with what steady trials below (and above) its rate say of it."""
    if any(not trial.valid for trial in trials):
        return _with(knee, said="the steady trials around it did not count")
    losses = [(t.attempted - t.replied) / max(t.attempted, 1) for t in trials]
    if losses[0] > knee.loss_goal:
        return _with(
            knee, agreed=False, said=f"a steady trial at 0.95 times the rate lost {losses[0]:.3%}"
        )
    if len(losses) > 1 and losses[1] <= knee.loss_goal:
        return _with(
            knee, agreed=False, said="a steady trial at 1.05 times the rate met the goal too"
        )
    return _with(knee, agreed=True, said="steady trials around it agree")


def in_words(knee: Knee) -> str:
    """Return the knee in one line that says no more than was found."""
    goal = f"at most {100 * knee.loss_goal:g} % lost"
    if knee.rate is None:
        found = "no knee"
    elif knee.limit == KneeLimit.CLIENTS:
        found = f">= {knee.rate:.5g}/s (client-limited)"
    elif knee.limit == KneeLimit.RANGE or knee.above is None:
        found = f">= {knee.rate:.5g}/s"
    else:
        found = f"{knee.rate:.5g}/s (below {knee.above:.5g}/s)"
    counted = f"{knee.trials} trials, {knee.invalid} did not count"
    return f"{goal}: {found}; {knee.reason}; {counted}"


def _with(knee: Knee, *, said: str, agreed: bool | None = None) -> Knee:
    return msgspec.structs.replace(knee, confirmed=agreed, reason=f"{knee.reason}; {said}")


def _point(rate: float, trials: Sequence[Trial]) -> Point:
    rates = [trial.reply_rate for trial in trials]
    attempted = sum(trial.attempted for trial in trials)
    lost = attempted - sum(trial.replied for trial in trials)
    sd = statistics.stdev(rates) if len(rates) > 1 else None
    return Point(rate, statistics.fmean(rates), sd, lost / attempted, len(trials))
