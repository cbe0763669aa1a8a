"""Collect the values of a metric from the trials of a comparison. Pure.

Arm A holds the trials without the fix, arm B the trials with the fix. Only valid trials of the
kind `judged` contribute values; the number of invalid trials is kept as well.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from dirtune.analyse.run import Trial, TrialKind
from dirtune.errors import PlanError

_SAME_RATE = 0.02
"""Two rates count as equal if they differ by at most this share (0.02 = 2 %)."""


class Covariate(NamedTuple):
    """A metric at equal values of which the arms are compared, with its values in each pair."""

    metric: str
    before: tuple[float, ...]
    after: tuple[float, ...]
    groups: tuple[int, ...] = ()
    """A number for each pair; only pairs with the same number have the same level. Empty if all
    pairs have."""


class Arms(NamedTuple):
    """The values of one metric, measured in valid trials before and after a fix.

    If the trials ran in pairs, the first value of `before` and the first value of `after` come
    from the same pair, and so on.
    """

    before: tuple[float, ...]
    after: tuple[float, ...]
    paired: bool
    invalid: int
    """Number of invalid trials, which have no value here."""
    covariate: Covariate | None = None
    """The metric at equal values of which the arms are compared; None for no adjustment."""

    @property
    def swapped(self) -> "Arms":
        """The same values with the arms exchanged."""
        covariate = self.covariate and self.covariate._replace(
            before=self.covariate.after, after=self.covariate.before
        )
        return self._replace(before=self.after, after=self.before, covariate=covariate)


def arms_of(
    trials: Sequence[Trial],
    metric: str,
    rate: float | None = None,
    covariate: str | None = None,
) -> Arms:
    """Return the values of *metric* in arms A and B of one run.

    Only trials that offered *rate* connections/s count. *rate* may be None if the run has only one
    rate. *covariate* names the metric at equal values of which the arms are compared. Raises
    `PlanError` if the trials have several rates or several cells of a matrix, or if no trial ran
    at *rate*.
    """
    compared = _judged(trials, rate)
    _require_alike(compared)
    counted = [trial for trial in compared if _counts(trial, metric)]
    invalid = len(compared) - len(counted)
    by_pair = {(trial.pair, trial.arm): trial for trial in counted if trial.pair is not None}
    if by_pair:
        whole = sorted({n for n, _ in by_pair if (n, "A") in by_pair and (n, "B") in by_pair})
        pairs = [(by_pair[n, "A"], by_pair[n, "B"]) for n in whole]
        return _paired(pairs, metric, covariate, invalid)
    before, after = (tuple(t.metrics[metric] for t in counted if t.arm == arm) for arm in "AB")
    return Arms(before, after, paired=False, invalid=invalid)


def _paired(
    pairs: Sequence[tuple[Trial, Trial]],
    metric: str,
    covariate: str | None,
    invalid: int,
    groups: tuple[int, ...] = (),
) -> Arms:
    before, after = (tuple(pair[side].metrics[metric] for pair in pairs) for side in (0, 1))
    values = [[trial.metrics.get(covariate or "") for trial in pair] for pair in pairs]
    both = [(a, b) for a, b in values if a is not None and b is not None]
    known = None
    if covariate and both and len(both) == len(pairs):
        known = Covariate(covariate, tuple(a for a, _ in both), tuple(b for _, b in both), groups)
    return Arms(before, after, paired=True, invalid=invalid, covariate=known)


def neighbours_of(
    trials: Sequence[Trial],
    metric: str,
    rate: float | None = None,
    covariate: str | None = None,
) -> Arms:
    """Return the values of *metric* in neighbouring trials of the same arm.

    The values can replace those of an A/A run. The order of the arms alternates (A B, B A, A B),
    so the last trial of a pair and the first trial of the next pair measure the same director with
    nothing changed between them. `before` and `after` take turns to hold the earlier trial, so
    that drift affects both equally. Only valid pairs that ran one after the other count. *rate*
    and *covariate* are as for `arms_of`.
    """
    in_pairs = [trial for trial in _judged(trials, rate) if trial.pair is not None]
    counted = [trial for trial in in_pairs if _counts(trial, metric)]
    close = [
        (earlier, later)
        for earlier, later in pairwise(counted)
        if earlier.arm == later.arm and _follows(later.pair, earlier.pair)
    ]
    turned = [(b, a) if n % 2 else (a, b) for n, (a, b) in enumerate(close)]
    of_arm = tuple(int(earlier.arm == "B") for earlier, _ in close)
    return _paired(turned, metric, covariate, len(in_pairs) - len(counted), of_arm)


def _follows(pair: int | None, other: int | None) -> bool:
    return pair is not None and other is not None and pair == other + 1


def arms_between(
    before: Sequence[Trial], after: Sequence[Trial], metric: str, rate: float | None = None
) -> Arms:
    """Return the values of *metric* in two sets of trials, which do not form pairs.

    Raises `PlanError` if the trials have several rates, or if the trials of one set come from
    several cells of a matrix or from both arms.
    """
    sides = [_judged(before, rate), _judged(after, rate)]
    _require_one_rate([trial for side in sides for trial in side])
    for side in sides:
        _require_alike(side)
        if len({trial.arm for trial in side}) > 1:
            raise PlanError("The run holds two arms. Name one of them: RUN:A or RUN:B.")
    values = [tuple(t.metrics[metric] for t in side if _counts(t, metric)) for side in sides]
    invalid = sum(map(len, sides)) - sum(map(len, values))
    return Arms(values[0], values[1], paired=False, invalid=invalid)


def same_rate(offered: float, rate: float | None) -> bool:
    """Return whether *offered* and the planned *rate*, in connections/s, differ by 2 % at most."""
    return rate is not None and math.isclose(offered, rate, rel_tol=_SAME_RATE)


def _judged(trials: Sequence[Trial], rate: float | None) -> list[Trial]:
    """Return the trials of the kind `judged` that ran at *rate*; at any rate if *rate* is None."""
    candidates = [trial for trial in trials if trial.kind == TrialKind.JUDGED]
    if rate is None or not candidates:
        return candidates
    # Clients open connections in whole milliseconds, so their rate differs a little from the
    # plan's. A trial that failed before its load began has the plan's rate.
    near = [trial for trial in candidates if same_rate(trial.offered_rate, rate)]
    if not near:
        raise PlanError(
            f"No trial ran at {rate:g} connections/s. The trials ran at {_rates(candidates)}."
        )
    offered = {trial.offered_rate for trial in near if trial.valid}
    nearest = min(offered, key=lambda offered: abs(offered - rate), default=rate)
    return [trial for trial in near if not trial.valid or trial.offered_rate == nearest]


def _require_alike(trials: Sequence[Trial]) -> None:
    _require_one_rate(trials)
    if len(cells := sorted({trial.cell for trial in trials})) > 1:
        raise PlanError(f"The run holds several cells. Name one, such as RUN:{cells[-1]}.")


def _require_one_rate(trials: Sequence[Trial]) -> None:
    # A trial that failed before its load began has the plan's rate.
    counted = [trial for trial in trials if trial.valid]
    if len({trial.offered_rate for trial in counted}) > 1:
        known = _rates(counted)
        raise PlanError(
            f"The trials offered several rates, {known} connections/s. Choose one with --rate."
        )


def _rates(trials: Sequence[Trial]) -> str:
    return ", ".join(f"{rate:g}" for rate in sorted({t.offered_rate for t in trials}))


def _counts(trial: Trial, metric: str) -> bool:
    return trial.valid and metric in trial.metrics
