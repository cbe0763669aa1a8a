"""Before against after: is there an effect, how large is it, and could it be chance? Pure.

Everything is done on logarithms of ratios, so that "twice" and "half" weigh the same. Pairs (two
trials close in time) are compared by the t interval of their log ratios and the exact sign-flip
test; unpaired trials by Welch's interval and the Mann-Whitney test, exact as well. The primary
metric is named before the run; the others are corrected by Holm. `improved` and `regressed`
need all of: the interval leaves out 1, the test agrees, the effect is larger than the noise of an
A/A run, and larger than what matters in practice.
"""

import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from dirtune.analyse.run import Comparison, Trial, TrialKind, Verdict
from dirtune.errors import PlanError
from dirtune.plan.metrics import METRICS, Metric

LEAST_PAIRS = 6
LEAST_TRIALS = 5
THRESHOLD = 0.02
_ALPHA = 0.05
_SAME_RATE = 0.02
_POWER = 0.8
_SMALLEST, _LARGEST = 1e-60, 1e60
"""Largest value compared: nothing measures more, and the ratio of two such is still a number."""
# Beyond these all sign patterns, and all ways to deal the ranks, are too many to walk through.
_EXACT_PAIRS = 16
_EXACT_DEALS = 20_000
_EXACT_TRIALS = 50


class Arms(NamedTuple):
    """A metric's valid values in both arms; with pairs, the n-th of each belong together."""

    before: tuple[float, ...]
    after: tuple[float, ...]
    paired: bool
    invalid: int
    """Trials that did not count."""


class _Estimate(NamedTuple):
    log_ratio: float
    half_width: float
    p: float
    test: str
    error: float
    """Standard error of `log_ratio`."""
    freedom: float


def compare(
    metric: str,
    arms: Arms,
    *,
    noise_floor: float | None = None,
    threshold: float = THRESHOLD,
    rate: float | None = None,
) -> Comparison:
    """Return the verdict on one metric; *noise_floor* and *threshold* are shares (0.02 = 2 %).

    *rate* is only noted, for arms that are compared at several.
    """
    meaning = _metric(metric)
    refusal = _too_few(arms) or _not_positive(arms)
    estimate = None if refusal else _estimate(arms)
    verdict, reason = Verdict.INCONCLUSIVE, refusal
    if estimate is not None:
        verdict, reason = _verdict(estimate, meaning, noise_floor, threshold, arms)
    return Comparison(
        metric=metric,
        unit=meaning.unit,
        better=meaning.better,
        before=arms.before,
        after=arms.after,
        pairs=len(arms.before) if arms.paired else 0,
        ratio=None if estimate is None else math.exp(estimate.log_ratio),
        interval=None if estimate is None else _interval(estimate),
        test=_test_name(arms) if estimate is None else estimate.test,
        p=None if estimate is None else estimate.p,
        noise_floor=noise_floor,
        minimum_detectable_effect=None if estimate is None else _detectable(estimate),
        verdict=verdict,
        reason=reason,
        invalid=arms.invalid,
        rate=rate,
    )


def judged(
    primary: str,
    arms_of: Callable[[str], Arms],
    noise_floor_of: Callable[[str], float | None],
    *,
    threshold: float,
    rate: float | None = None,
    secondary: bool = True,
) -> tuple[Comparison, ...]:
    """Return the verdict on the *primary* metric; with *secondary*, on what else both arms have.

    Both functions are given a metric. *rate* is only noted.
    """
    others = (metric for metric in METRICS if metric != primary) if secondary else ()
    sides = {metric: arms_of(metric) for metric in (primary, *others)}
    return adjusted(
        [
            compare(
                metric,
                arms,
                noise_floor=noise_floor_of(metric),
                threshold=threshold,
                rate=rate,
            )
            for metric, arms in sides.items()
            if metric == primary or (arms.before and arms.after)
        ]
    )


def adjusted(found: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Return the comparisons with Holm's correction of all but the first, the primary.

    A secondary verdict that does not stand the correction is inconclusive.
    """
    known = [c.p for c in found[1:] if c.p is not None]
    corrected = iter(holm(known))
    return tuple(
        c if n == 0 or c.p is None else _corrected(c, next(corrected), len(known))
        for n, c in enumerate(found)
    )


def holm(ps: Sequence[float]) -> tuple[float, ...]:
    """Return the p values after Holm's step-down correction, in the order they came in."""
    order = sorted(range(len(ps)), key=ps.__getitem__)
    steps = (min(1.0, (len(ps) - rank) * ps[n]) for rank, n in enumerate(order))
    rising = dict(zip(order, itertools.accumulate(steps, max), strict=True))
    return tuple(rising[n] for n in range(len(ps)))


def _corrected(found: Comparison, p: float, metrics: int) -> Comparison:
    found = msgspec.structs.replace(found, p_holm=p)
    if found.verdict not in {Verdict.IMPROVED, Verdict.REGRESSED} or p < _ALPHA:
        return found
    reason = f"p = {p:.3f} after Holm's correction for {metrics} secondary metrics"
    return msgspec.structs.replace(found, verdict=Verdict.INCONCLUSIVE, reason=reason)


def arms_of(trials: Sequence[Trial], metric: str, rate: float | None = None) -> Arms:
    """Return the judged ones of a run's two arms at one offered rate, paired where it paired.

    `PlanError` where they are of several rates or cells, or none is at *rate*.
    """
    trials = _judged(trials, rate)
    _require_alike(trials)
    valid = [t for t in trials if _counts(t, metric)]
    by_pair = {(t.pair, t.arm): t.metrics[metric] for t in valid if t.pair is not None}
    whole = sorted({n for n, _ in by_pair if (n, "A") in by_pair and (n, "B") in by_pair})
    invalid = len(trials) - len(valid)
    if by_pair:
        return Arms(
            tuple(by_pair[n, "A"] for n in whole),
            tuple(by_pair[n, "B"] for n in whole),
            paired=True,
            invalid=invalid,
        )
    before = tuple(t.metrics[metric] for t in valid if t.arm == "A")
    after = tuple(t.metrics[metric] for t in valid if t.arm == "B")
    return Arms(before, after, paired=False, invalid=invalid)


def arms_between(
    before: Sequence[Trial], after: Sequence[Trial], metric: str, rate: float | None = None
) -> Arms:
    """Return two sets of trials as unpaired arms; trials that did not count are counted.

    `PlanError` where they are of several rates, or one of several cells or arms.
    """
    sides = [_judged(before, rate), _judged(after, rate)]
    _require_one_rate([trial for side in sides for trial in side])
    for side in sides:
        _require_alike(side)
        if len({trial.arm for trial in side}) > 1:
            raise PlanError("a run holds two arms: name one, RUN:A or RUN:B")
    values = [tuple(t.metrics[metric] for t in side if _counts(t, metric)) for side in sides]
    invalid = sum(map(len, sides)) - sum(map(len, values))
    return Arms(values[0], values[1], paired=False, invalid=invalid)


def noise_floor(arms: Arms) -> float | None:
    """Return the half width of an A/A run's 95 % interval as a share; None with too few trials."""
    if _too_few(arms) or _not_positive(arms):
        return None
    low, high = _interval(_estimate(arms))
    # An A/A interval that lies off 1 is noise too.
    return max(abs(high - 1), abs(1 - low), (high - low) / 2)


def floor_of(still: Sequence[Trial], metric: str, rate: float | None) -> float | None:
    """Return the noise floor at *rate* of an A/A run's trials; its only one where it has one rate.

    `PlanError` where it has several, and *rate* is none of them.
    """
    pairs = (t.offered_rate for t in still if t.pair is not None and t.valid)
    return noise_floor(arms_of(still, metric, rate if len({*pairs}) > 1 else None))


def no_noise_floor(metric: str) -> str:
    """Return why an A/A run has no noise floor of *metric*."""
    return f"no noise floor of {metric}: too few valid trials of its arms"


def pairs_needed(comparison: Comparison, effect: float) -> int | None:
    """Return how many pairs would show *effect* (a share) in 4 of 5 tries; None if unknown."""
    found = comparison.minimum_detectable_effect
    if found is None or comparison.pairs == 0 or effect <= 0:
        return None
    scale = math.log1p(found) / math.log1p(effect)
    return max(LEAST_PAIRS, math.ceil(comparison.pairs * scale**2))


def sign_flip(differences: Sequence[float]) -> float:
    """Return the two-sided p of a mean this far from 0 if every sign were a coin's toss.

    Exact for up to 16 differences; beyond that the normal approximation.
    """
    observed = abs(math.fsum(differences))
    if len(differences) > _EXACT_PAIRS:
        spread = math.sqrt(math.fsum(d * d for d in differences))
        return math.erfc(observed / spread / math.sqrt(2)) if spread else 1.0
    # Half of the patterns are the mirror image of the other half: fix the first sign.
    rest = [(d, -d) for d in differences[1:]]
    sums = [abs(math.fsum((differences[0], *signs))) for signs in itertools.product(*rest)]
    # Rounding must not decide whether the observed pattern is as extreme as itself.
    least = observed - 1e-12 * math.fsum(abs(d) for d in differences)
    return sum(total >= least for total in sums) / len(sums)


def rank_sum(before: Sequence[float], after: Sequence[float]) -> float:
    """Return the two-sided p of the Mann-Whitney test.

    Exact, ties too, where the ways to deal the ranks can be walked through; without ties exact up
    to 50 trials an arm; beyond that the normal approximation.
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
    found = stats.mannwhitneyu(before, after, alternative="two-sided", method=method)
    # With nothing but ties the approximation has no spread to divide by.
    return 1.0 if math.isnan(found.pvalue) else float(found.pvalue)


def _metric(name: str) -> Metric:
    if name not in METRICS:
        raise PlanError(f"{name}: no such metric; there are {', '.join(sorted(METRICS))}")
    return METRICS[name]


def _judged(trials: Sequence[Trial], rate: float | None) -> list[Trial]:
    judged = [trial for trial in trials if trial.kind == TrialKind.JUDGED]
    if rate is None or not judged:
        return judged
    # What was asked of the clients is offered in whole milliseconds, and so not quite; of a trial
    # that broke before its load began, only what was asked is known.
    near = [t for t in judged if same_rate(t.offered_rate, rate)]
    if not near:
        raise PlanError(f"no trial offered {rate:g}/s; there are {_rates(judged)}")
    offered = {trial.offered_rate for trial in near if trial.valid}
    nearest = min(offered, key=lambda offered: abs(offered - rate), default=rate)
    return [t for t in near if not t.valid or t.offered_rate == nearest]


def same_rate(one: float, other: float | None) -> bool:
    """Tell whether a rate that was offered may be the one that was asked."""
    return other is not None and math.isclose(one, other, rel_tol=_SAME_RATE)


def _require_alike(trials: Sequence[Trial]) -> None:
    _require_one_rate(trials)
    if len(cells := sorted({trial.cell for trial in trials})) > 1:
        raise PlanError(f"a run holds several cells: name one, such as RUN:{cells[-1]}")


def _require_one_rate(trials: Sequence[Trial]) -> None:
    # One that broke before its load began has the rate that was asked for.
    counted = [trial for trial in trials if trial.valid]
    if len({trial.offered_rate for trial in counted}) > 1:
        known = _rates(counted)
        raise PlanError(f"the trials hold several offered rates ({known}): choose one with --rate")


def _rates(trials: Sequence[Trial]) -> str:
    return ", ".join(f"{rate:g}" for rate in sorted({t.offered_rate for t in trials}))


def _counts(trial: Trial, metric: str) -> bool:
    return trial.valid and metric in trial.metrics


def _test_name(arms: Arms) -> str:
    return "sign-flip" if arms.paired else "mann-whitney"


def _too_few(arms: Arms) -> str | None:
    if arms.paired and len(arms.before) < LEAST_PAIRS:
        return f"{len(arms.before)} valid pairs, and {LEAST_PAIRS} are the least"
    fewest = min(len(arms.before), len(arms.after))
    if not arms.paired and fewest < LEAST_TRIALS:
        return f"{fewest} valid trials in an arm, and {LEAST_TRIALS} are the least"
    return None


def _not_positive(arms: Arms) -> str | None:
    values = (*arms.before, *arms.after)
    if all(_SMALLEST < value < _LARGEST for value in values):
        return None
    if min(values) <= 0:
        return "a trial measured zero: ratios need values above it"
    return "a trial has a value that nothing measures"


def _estimate(arms: Arms) -> _Estimate:
    before, after = ([math.log(v) for v in side] for side in (arms.before, arms.after))
    return _paired(before, after) if arms.paired else _unpaired(before, after)


def _paired(before: Sequence[float], after: Sequence[float]) -> _Estimate:
    logs = [b - a for a, b in zip(before, after, strict=True)]
    error = statistics.stdev(logs) / math.sqrt(len(logs))
    freedom = len(logs) - 1
    half = _t_quantile(freedom) * error
    return _Estimate(statistics.fmean(logs), half, sign_flip(logs), "sign-flip", error, freedom)


def _unpaired(before: Sequence[float], after: Sequence[float]) -> _Estimate:
    parts = [statistics.variance(side) / len(side) for side in (before, after)]
    error = math.sqrt(sum(parts))
    weights = (
        part**2 / (len(side) - 1) for part, side in zip(parts, (before, after), strict=True)
    )
    denominator = sum(weights)
    freedom = error**4 / denominator if denominator else len(before) + len(after) - 2
    mean = statistics.fmean(after) - statistics.fmean(before)
    half = _t_quantile(freedom) * error
    p = rank_sum(before, after)
    return _Estimate(mean, half, p, "mann-whitney", error, freedom)


def _t_quantile(freedom: float, probability: float = 1 - _ALPHA / 2) -> float:
    from scipy import stats  # noqa: PLC0415

    return float(stats.t.ppf(probability, freedom))


def _interval(estimate: _Estimate) -> tuple[float, float]:
    low, high = estimate.log_ratio - estimate.half_width, estimate.log_ratio + estimate.half_width
    return math.exp(low), math.exp(high)


def _detectable(estimate: _Estimate) -> float:
    reach = _t_quantile(estimate.freedom) + _t_quantile(estimate.freedom, _POWER)
    return math.expm1(reach * estimate.error)


def _verdict(
    estimate: _Estimate,
    metric: Metric,
    noise: float | None,
    threshold: float,
    arms: Arms,
) -> tuple[Verdict, str | None]:
    low, high = _interval(estimate)
    if 1 / (1 + threshold) < low and high < 1 + threshold:
        return Verdict.EQUIVALENT, None
    if low <= 1 <= high or estimate.p >= _ALPHA:
        return Verdict.INCONCLUSIVE, _not_seen(estimate, threshold, arms)
    effect = math.expm1(abs(estimate.log_ratio))
    if effect <= threshold:
        return Verdict.INCONCLUSIVE, f"the effect is below {threshold:.0%}, which would matter"
    if noise is not None and effect <= noise:
        return Verdict.INCONCLUSIVE, f"the effect is within the noise floor of {noise:.1%}"
    better = (estimate.log_ratio > 0) == (metric.better == "higher")
    return (Verdict.IMPROVED if better else Verdict.REGRESSED), None


def _not_seen(estimate: _Estimate, threshold: float, arms: Arms) -> str:
    found = _detectable(estimate)
    pairs = len(arms.before)
    wanted = max(math.expm1(abs(estimate.log_ratio)), threshold)
    needed = max(pairs, math.ceil(pairs * (math.log1p(found) / math.log1p(wanted)) ** 2))
    unit = "pairs" if arms.paired else "trials per arm"
    return (
        f"no effect told from noise: {pairs} {unit} detect {found:.1%}; "
        f"about {needed} {unit} are needed for {wanted:.1%}"
    )
