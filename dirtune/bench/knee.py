"""Search for the highest rate that meets a loss goal, with MLRsearch. Pure.

The search is a function of the trials so far: it returns the next trial to run, or the result.
MLRsearch calls a measurer for each trial. The measurer here replays the trials so far; when they
run out, it raises an exception that names the next trial. So the search needs no thread, can be
interrupted at any time, and continues from the trials on disk.

Connections that the clients could not begin never count as loss: MLRsearch gets the number of
attempted connections, and a trial that the clients limited does not count for the director.
"""

from collections.abc import Sequence
from typing import NamedTuple

from MLRsearch import (
    AbstractMeasurer,
    Config,
    GoalResult,
    MeasurementResult,
    MultipleLossRatioSearch,
    SearchGoal,
)

from dirtune.analyse.run import KneeLimit
from dirtune.errors import PlanError
from dirtune.plan.tables import Knee

_STEP_DOWN = 0.8
"""If the clients cannot reach a rate, the search tries this share of it next."""
# A replay takes no time, and the search ends by itself, because its rates form a finite grid.
_NO_TIME_LIMIT_S = 1e9


class Space(NamedTuple):
    """The range of a search, in connections/s and seconds."""

    lowest: float
    highest: float
    width: float
    """The search stops when its two bounds differ by at most this share."""
    trial_s: float


class Seen(NamedTuple):
    """The counts of one trial of the search."""

    attempted: int
    replied: int
    limited: bool = False
    """Whether the clients could not begin all their connections, so that the trial says nothing
    about the director."""


class Ask(NamedTuple):
    """The trial that comes next."""

    rate: float
    window_s: float


class Bounds(NamedTuple):
    """The result of the search, in connections/s."""

    lower: float | None
    """Highest rate that met the goal; None if the lowest rate missed it."""
    upper: float | None
    """Lowest rate that missed the goal; None if no rate missed it."""
    limit: KneeLimit


class _Unanswered(Exception):
    def __init__(self, ask: Ask) -> None:
        super().__init__(ask)
        self.ask = ask


class _Limited(Exception):
    pass


def space(knee: Knee, highest: float, trial_s: float) -> Space:
    """Return the range of the search: the plan's range, but with no rate above *highest*."""
    top = min(knee.highest or highest, highest)
    lowest = knee.lowest or top / 20
    if lowest >= top:
        raise PlanError(
            f"knee.lowest is {lowest:g}/s, but must be below the highest rate, {top:g}/s."
        )
    return Space(lowest, top, knee.width / 100, trial_s)


def following(space: Space, goal: float, seen: Sequence[Seen]) -> Ask | Bounds:
    """Return the next trial of the search, or the result of the search.

    First, the rate is lowered until the clients can reach it, because a trial above that rate
    says nothing about the director. MLRsearch's own first trial is at that rate, too.
    """
    highest, down = space.highest, 0
    while down < len(seen) and seen[down].limited:
        highest *= _STEP_DOWN
        down += 1
    if highest <= space.lowest:
        return Bounds(None, None, KneeLimit.CLIENTS)
    measurer = _Replay(goal, seen[down:])
    try:
        result = _search(measurer, space._replace(highest=highest), goal)
    except _Unanswered as question:
        return question.ask
    except _Limited:
        return Bounds(measurer.met(), None, KneeLimit.CLIENTS)
    lower, upper = result.relevant_lower_bound, result.relevant_upper_bound
    if upper is None:
        return Bounds(float(lower), None, KneeLimit.CLIENTS if down else KneeLimit.RANGE)
    return Bounds(None if lower is None else float(lower), float(upper), KneeLimit.SYSTEM)


def _search(measurer: "_Replay", space: Space, goal: float) -> GoalResult:
    search_goal = SearchGoal(
        loss_ratio=goal,
        exceed_ratio=0.5,
        relative_width=space.width,
        initial_trial_duration=space.trial_s / 2,
        final_trial_duration=space.trial_s,
        duration_sum=3 * space.trial_s,
        preceding_targets=2,
        expansion_coefficient=2,
        fail_fast=False,
    )
    config = Config()
    config.goals = [search_goal]
    # The lower limit comes first: MLRsearch compares each limit with the other when it is set.
    config.min_load = space.lowest
    config.max_load = space.highest
    config.search_duration_max = _NO_TIME_LIMIT_S
    config.warmup_duration = None
    search = MultipleLossRatioSearch(config=config)
    return search.search(measurer=measurer, debug=_silent)[search_goal]


def _silent(_: str) -> None:
    pass


class _Replay(AbstractMeasurer):  # type: ignore[misc]
    """Replays the results of the trials so far, in order."""

    def __init__(self, goal: float, seen: Sequence[Seen]) -> None:
        self._goal = goal
        self._seen = iter(seen)
        self._losses: dict[float, list[bool]] = {}

    def measure(self, intended_duration: float, intended_load: float) -> MeasurementResult:
        """Return the next trial's counts."""
        trial = next(self._seen, None)
        if trial is None:
            raise _Unanswered(Ask(intended_load, intended_duration))
        if trial.limited:
            raise _Limited
        lost = 1 - trial.replied / max(trial.attempted, 1)
        self._losses.setdefault(intended_load, []).append(lost <= self._goal)
        return MeasurementResult(
            intended_duration=intended_duration,
            intended_load=intended_load,
            offered_count=trial.attempted,
            forwarding_count=trial.replied,
        )

    def met(self) -> float | None:
        """Return the highest rate at which all trials met the goal."""
        return max((rate for rate, met in self._losses.items() if all(met)), default=None)
