"""The search for the highest rate that meets a loss goal, by MLRsearch. Pure.

The search is a function of the trials so far: given them it says which trial comes next, or what
they found. MLRsearch asks its measurer and waits; here the measurer answers from the trials and,
where they end, breaks off with the question. So the search needs no thread, can be interrupted
anywhere, and goes on from the trials on disk.

Unsent connections never count as loss: MLRsearch is told what was attempted, and a trial in which
the clients did not begin what they should is no answer about the director at all.
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
"""The share of a rate the clients could not make that is tried next."""
# A replay takes no time; the search ends by itself, its rates being those of a finite grid.
_NO_TIME_LIMIT_S = 1e9


class Space(NamedTuple):
    """The range of a search, in connections/s and seconds."""

    lowest: float
    highest: float
    width: float
    """Width between the two results, as a share."""
    trial_s: float


class Seen(NamedTuple):
    """The counts of one trial of the search."""

    attempted: int
    replied: int
    limited: bool = False
    """The clients did not begin their connections, so the trial says nothing of the director."""


class Ask(NamedTuple):
    """The trial that comes next."""

    rate: float
    window_s: float


class Bounds(NamedTuple):
    """The result of the search, in connections/s."""

    lower: float | None
    """Highest rate that met the goal; None if the lowest rate missed it."""
    upper: float | None
    """Lowest rate that missed it; None if none did."""
    limit: KneeLimit


class _Unanswered(Exception):
    def __init__(self, ask: Ask) -> None:
        super().__init__(ask)
        self.ask = ask


class _Limited(Exception):
    pass


def space(knee: Knee, highest: float, trial_s: float) -> Space:
    """Return the range of the search: the plan's, or up to *highest* if the plan sets no end."""
    top = min(knee.highest or highest, highest)
    lowest = knee.lowest or top / 20
    if lowest >= top:
        raise PlanError(f"knee.lowest: {lowest:g}/s is not below the highest rate, {top:g}/s")
    return Space(lowest, top, knee.width / 100, trial_s)


def following(space: Space, goal: float, seen: Sequence[Seen]) -> Ask | Bounds:
    """Return the next trial of the search, or its result.

    At first the rate goes down until the clients can make it: that is the highest rate a search
    can tell anything about. MLRsearch's own first trial is at its highest rate as well.
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
    # The lower one first: MLRsearch holds each against the other as it is set.
    config.min_load = space.lowest
    config.max_load = space.highest
    config.search_duration_max = _NO_TIME_LIMIT_S
    config.warmup_duration = None
    search = MultipleLossRatioSearch(config=config)
    return search.search(measurer=measurer, debug=_silent)[search_goal]


def _silent(_: str) -> None:
    pass


class _Replay(AbstractMeasurer):  # type: ignore[misc]
    """Answers from the trials so far, in their order."""

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
        """Return the highest rate all of whose trials met the goal."""
        return max((rate for rate, met in self._losses.items() if all(met)), default=None)
