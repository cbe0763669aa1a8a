"""Choose the next rate of a search for the knee, and its end, by MLRsearch. Pure.

The search is a function that takes all trials so far, and returns the next trial to run or the
result. MLRsearch calls a measurer for each trial. The measurer here replays the trials so far;
after the last one, it raises an exception that names the next trial. Therefore the search needs no
thread, and can continue from the trials on disk after an interruption.

Connections that the clients could not start never count as lost: MLRsearch gets the number of
attempted connections, and a trial that the clients limited says nothing about the director.
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
"""If the clients cannot reach a rate, the search next tries this rate times 0.8."""
# A replay takes no time, and the search always ends, because its rates form a finite grid.
_NO_TIME_LIMIT_S = 1e9


class Space(NamedTuple):
    """The range of rates that a search may try, in connections/s, and the length of a trial."""

    lowest: float
    highest: float
    width: float
    """The search ends when the highest rate that met the goal and the lowest rate that missed it
    differ by at most this share."""
    trial_s: float


class Seen(NamedTuple):
    """The number of attempted and answered connections in one trial of the search."""

    attempted: int
    replied: int
    limited: bool = False
    """Whether the clients could not start all their connections. Such a trial says nothing about
    the director."""


class Ask(NamedTuple):
    """The next trial that the search needs."""

    rate: float
    window_s: float


class Bounds(NamedTuple):
    """The result of the search, in connections/s."""

    lower: float | None
    """The highest rate that met the goal; None if even the lowest rate missed the goal."""
    upper: float | None
    """The lowest rate that missed the goal; None if no rate missed the goal."""
    limit: KneeLimit


class _Unanswered(Exception):
    def __init__(self, ask: Ask) -> None:
        super().__init__(ask)
        self.ask = ask


class _Limited(Exception):
    pass


def space(knee: Knee, highest: float, trial_s: float) -> Space:
    """Return the range of the search: the plan's range, but no rate above *highest*.

    Rates are in connections/s. Raises `PlanError` if the plan's lowest rate is not below the
    highest rate.
    """
    top = min(knee.highest or highest, highest)
    lowest = knee.lowest or top / 20
    if lowest >= top:
        raise PlanError(
            f"knee.lowest is {lowest:g}/s, but must be below the highest rate, {top:g}/s."
        )
    return Space(lowest, top, knee.width / 100, trial_s)


def following(space: Space, goal: float, seen: Sequence[Seen]) -> Ask | Bounds:
    """Return the next trial that the search needs, or the result of the search.

    First, the highest rate is lowered until the clients can reach it, because a trial at a rate
    that they cannot reach says nothing about the director. MLRsearch then starts at this rate.
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
    # Set the lower limit first, because MLRsearch compares the two limits whenever one is set.
    config.min_load = space.lowest
    config.max_load = space.highest
    config.search_duration_max = _NO_TIME_LIMIT_S
    config.warmup_duration = None
    search = MultipleLossRatioSearch(config=config)
    return search.search(measurer=measurer, debug=_silent)[search_goal]


def _silent(_: str) -> None:
    pass


class _Replay(AbstractMeasurer):  # type: ignore[misc]
    """A measurer for MLRsearch that replays the results of the trials so far, in order."""

    def __init__(self, goal: float, seen: Sequence[Seen]) -> None:
        self._goal = goal
        self._seen = iter(seen)
        self._losses: dict[float, list[bool]] = {}

    def measure(self, intended_duration: float, intended_load: float) -> MeasurementResult:
        """Return the counts of the next trial, from the trials so far."""
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
        """Return the highest rate at which every trial met the loss goal; None if no rate did."""
        return max((rate for rate, met in self._losses.items() if all(met)), default=None)
