"""Estimate the effect of a fix, its 95 % interval and its p value. Pure.

All calculations use the logarithm of a ratio (after divided by before), so that doubling and
halving have the same weight. For pairs of trials, the interval is Student's t interval of the log
ratios, and p comes from the exact sign-flip test. For trials without pairs, the interval is
Welch's, and p comes from the exact Mann-Whitney test.

If the trials have a covariate, the effect is that at an equal covariate: the distance between two
parallel lines, one through the trials of each arm, with the interval and the t test of a linear
regression (analysis of covariance). It does not look at pairs: a drift that both trials of a pair
share widens the interval, because the arms alternate.
"""

import bisect
import functools
import itertools
import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from dirtune.analyse.arms import Arms, Covariate

ALPHA = 0.05
"""Accepted probability of reporting an effect although there is none, in a run with one look."""
_POWER = 0.8
# Beyond these, the sign patterns and the ways to deal the ranks are too many to walk through.
_EXACT_PAIRS = 16
_EXACT_DEALS = 20_000
_EXACT_TRIALS = 50
_SAME = 1e-9
"""Below this share, what a covariate varies beside the arms is rounding."""


class Estimate(NamedTuple):
    """The effect of a fix, as the logarithm of the ratio of after (arm B) to before (arm A)."""

    log_ratio: float
    half_width: float
    """Half the width of the interval of `log_ratio`, whose level is 1 - `alpha`."""
    p: float
    """Two-sided p value."""
    error: float
    """Standard error of `log_ratio`."""
    freedom: float
    """Degrees of freedom of the t interval."""
    alpha: float
    """Probability of reporting an effect where there is none."""

    @property
    def ratio(self) -> float:
        """The value after the fix divided by the value before."""
        return math.exp(self.log_ratio)

    @property
    def interval(self) -> tuple[float, float]:
        """The interval of the ratio, whose level is 1 - `alpha`."""
        low, high = self.log_ratio - self.half_width, self.log_ratio + self.half_width
        return math.exp(low), math.exp(high)

    @property
    def effect(self) -> float:
        """The size of the effect as a share (0.05 = 5 %), whether it is a rise or a fall."""
        return math.expm1(abs(self.log_ratio))

    @property
    def detectable(self) -> float:
        """The smallest effect, as a share, that this number of trials detects in 4 of 5 runs."""
        reach = sum(_t_quantile(self.freedom, share) for share in (1 - self.alpha / 2, _POWER))
        return math.expm1(reach * self.error)


def estimate(arms: Arms, alpha: float = ALPHA) -> Estimate:
    """Return the effect of arm B compared with arm A.

    Each arm needs at least two values, and all values must be positive. *alpha* is the accepted
    probability of a false verdict.
    """
    before, after = ([math.log(value) for value in side] for side in (arms.before, arms.after))
    if not arms.paired:
        return _unpaired(before, after, alpha)
    paired = _paired([b - a for a, b in zip(before, after, strict=True)], alpha)
    if arms.covariate is None:
        return paired
    return _at_equal(before, after, arms.covariate, alpha) or paired


def name_of_test(arms: Arms) -> str:
    """Return the name of the statistical test that gives the p value of *arms*."""
    if not arms.paired:
        return "mann-whitney"
    return "regression-t" if arms.covariate else "sign-flip"


def holm(ps: Sequence[float]) -> tuple[float, ...]:
    """Return the p values after Holm's step-down correction, in their original order."""
    order = sorted(range(len(ps)), key=ps.__getitem__)
    steps = (min(1.0, (len(ps) - rank) * ps[n]) for rank, n in enumerate(order))
    rising = dict(zip(order, itertools.accumulate(steps, max), strict=True))
    return tuple(rising[n] for n in range(len(ps)))


def sign_flip(differences: Sequence[float]) -> float:
    """Return the two-sided p value of the sign-flip test on *differences*.

    The p value is the share of all sign patterns whose mean is at least as far from 0 as the
    observed mean. The result is exact for up to 16 differences, and a normal approximation for
    more. (scipy's permutation_test gives the same numbers, but takes a thousand times as long for
    16 differences.)
    """
    observed = abs(math.fsum(differences))
    if len(differences) > _EXACT_PAIRS:
        spread = math.sqrt(math.fsum(d * d for d in differences))
        return math.erfc(observed / spread / math.sqrt(2)) if spread else 1.0
    # Every pattern is one of the first half of the differences with one of the second half.
    middle = len(differences) // 2
    firsts, seconds = _signed_sums(differences[:middle]), _signed_sums(differences[middle:])
    # Rounding must not decide whether the observed pattern is as extreme as itself.
    least = observed - 1e-12 * math.fsum(abs(d) for d in differences)
    if least <= 0:
        return 1.0
    seconds.sort()
    # The patterns with a sum of -least or less are mirror images of those with least or more.
    beyond = sum(len(seconds) - bisect.bisect_left(seconds, least - first) for first in firsts)
    return 2 * beyond / (len(firsts) * len(seconds))


def _signed_sums(differences: Sequence[float]) -> list[float]:
    """Return the sum of the differences for each pattern of signs."""
    return [math.fsum(signs) for signs in itertools.product(*((d, -d) for d in differences))]


def rank_sum(before: Sequence[float], after: Sequence[float]) -> float:
    """Return the two-sided p value of the Mann-Whitney test.

    The result is exact for few trials, even with ties, and for up to 50 trials per arm without
    ties. Otherwise the result is a normal approximation. With ties, p is the share of all
    assignments of the ranks to the arms whose rank sum is at least as far from the middle as the
    observed sum. scipy doubles the smaller tail instead, which gives a different number.
    """
    from scipy import stats  # noqa: PLC0415  (0.5 s to import, and most commands never compare)

    n, total = len(before), len(before) + len(after)
    ties = len({*before, *after}) < total
    if ties and math.comb(total, n) <= _EXACT_DEALS:
        ranks = [float(rank) for rank in stats.rankdata((*before, *after))]
        middle = n * (total + 1) / 2
        observed = abs(math.fsum(ranks[:n]) - middle)
        deals = (abs(sum(deal) - middle) for deal in itertools.combinations(ranks, n))
        return sum(away >= observed for away in deals) / math.comb(total, n)
    method = "asymptotic" if ties or max(n, total - n) > _EXACT_TRIALS else "exact"
    result = stats.mannwhitneyu(before, after, alternative="two-sided", method=method)
    # If all values are equal, the approximation has no spread to divide by.
    return 1.0 if math.isnan(result.pvalue) else float(result.pvalue)


def _at_equal(
    before: Sequence[float], after: Sequence[float], covariate: Covariate, alpha: float
) -> Estimate | None:
    """Return the effect at an equal covariate; None if the covariate is the same in all trials.

    The regression has a level for each group of pairs, one slope for all trials, and the effect.
    """
    groups = covariate.groups or (0,) * len(before)
    y = _within((*before, *after), (*groups, *groups))
    x = _within((*covariate.before, *covariate.after), (*groups, *groups))
    side = [-0.5] * len(before) + [0.5] * len(after)  # each group has as many of both
    xx, ss, xs = _product(x, x), _product(side, side), _product(x, side)
    xy, sy = _product(x, y), _product(side, y)
    determinant = xx * ss - xs**2
    freedom = len(y) - len(set(groups)) - 2
    if determinant <= _SAME * xx * ss or freedom < 1:
        return None
    log_ratio = (sy * xx - xy * xs) / determinant
    slope = (xy * ss - sy * xs) / determinant
    rest = math.fsum(
        (b - slope * a - log_ratio * s) ** 2 for a, b, s in zip(x, y, side, strict=True)
    )
    error = math.sqrt(rest / freedom * xx / determinant)
    half = _t_quantile(freedom, 1 - alpha / 2) * error
    p = _two_sided(freedom, log_ratio / error) if error else float(log_ratio == 0)
    return Estimate(log_ratio, half, p, error, freedom, alpha)


def _within(values: Sequence[float], groups: Sequence[int]) -> list[float]:
    """Return each value minus the mean of its group."""
    mean = {
        group: statistics.fmean(v for v, g in zip(values, groups, strict=True) if g == group)
        for group in set(groups)
    }
    return [value - mean[group] for value, group in zip(values, groups, strict=True)]


def _product(one: Sequence[float], other: Sequence[float]) -> float:
    return math.fsum(a * b for a, b in zip(one, other, strict=True))


def _paired(logs: Sequence[float], alpha: float) -> Estimate:
    error = statistics.stdev(logs) / math.sqrt(len(logs))
    freedom = len(logs) - 1
    half = _t_quantile(freedom, 1 - alpha / 2) * error
    return Estimate(statistics.fmean(logs), half, sign_flip(logs), error, freedom, alpha)


def _unpaired(before: Sequence[float], after: Sequence[float], alpha: float) -> Estimate:
    parts = [statistics.variance(side) / len(side) for side in (before, after)]
    error = math.sqrt(sum(parts))
    weights = (
        part**2 / (len(side) - 1) for part, side in zip(parts, (before, after), strict=True)
    )
    denominator = sum(weights)
    freedom = error**4 / denominator if denominator else len(before) + len(after) - 2
    mean = statistics.fmean(after) - statistics.fmean(before)
    half = _t_quantile(freedom, 1 - alpha / 2) * error
    return Estimate(mean, half, rank_sum(before, after), error, freedom, alpha)


def _two_sided(freedom: float, t: float) -> float:
    from scipy import stats  # noqa: PLC0415

    return float(2 * stats.t.sf(abs(t), freedom))


@functools.lru_cache
def _t_quantile(freedom: float, probability: float) -> float:
    from scipy import stats  # noqa: PLC0415

    return float(stats.t.ppf(probability, freedom))
