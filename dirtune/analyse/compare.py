"""Decide whether a fix had an effect, how large it is, and whether it may be chance. Pure.

The primary metric is chosen before the run; the p values of all other metrics get Holm's
correction. A verdict of `improved` or `regressed` needs four things: the 95 % interval of the
ratio excludes 1, the test finds p below 0.05, the effect exceeds the noise of an A/A run, and the
effect exceeds the threshold, which is the smallest effect that matters in practice.
"""

import math
import statistics
from collections.abc import Callable, Sequence

import msgspec

from dirtune.analyse.arms import Arms, Covariate, arms_of, neighbours_of
from dirtune.analyse.estimate import ALPHA, Estimate, estimate, holm, name_of_test
from dirtune.analyse.run import Comparison, Trial, Verdict
from dirtune.errors import PlanError
from dirtune.plan.metrics import METRICS, Metric

LEAST_PAIRS = 6
LEAST_TRIALS = 5
THRESHOLD = 0.02
_SMALLEST, _LARGEST = 1e-60, 1e60
"""Values outside these limits are not measurements; within them, every ratio is finite."""


def compare(
    metric: str,
    arms: Arms,
    *,
    noise_floor: float | None = None,
    threshold: float = THRESHOLD,
    rate: float | None = None,
    alpha: float = ALPHA,
) -> Comparison:
    """Return the comparison of one metric, with its verdict.

    *noise_floor* and *threshold* are shares (0.02 = 2 %). *rate*, in connections/s, is stored in
    the result; None means that the run has only one rate. *alpha* is the accepted probability of a
    false verdict, as `looks.alpha` returns it for a run.
    """
    meaning = _metric(metric)
    refusal = _too_few(arms) or _not_positive(arms)
    effect = None if refusal else estimate(arms, alpha)
    verdict, reason = Verdict.INCONCLUSIVE, refusal
    if effect is not None:
        verdict, reason = _verdict(effect, meaning, noise_floor, threshold, arms)
    plain = None if refusal or not arms.covariate else arms._replace(covariate=None)
    unadjusted = None if plain is None else estimate(plain, alpha).ratio
    return Comparison(
        metric=metric,
        unit=meaning.unit,
        better=meaning.better,
        before=arms.before,
        after=arms.after,
        pairs=len(arms.before) if arms.paired else 0,
        ratio=None if effect is None else effect.ratio,
        interval=None if effect is None else effect.interval,
        test=name_of_test(arms),
        p=None if effect is None else effect.p,
        noise_floor=noise_floor,
        minimum_detectable_effect=None if effect is None else effect.detectable,
        verdict=verdict,
        reason=reason,
        invalid=arms.invalid,
        rate=rate,
        level=1 - alpha,
        covariate=arms.covariate and arms.covariate.metric,
        unadjusted=unadjusted,
        covariate_means=arms.covariate and _means(arms.covariate),
    )


def _means(covariate: Covariate) -> tuple[float, float]:
    return statistics.fmean(covariate.before), statistics.fmean(covariate.after)


def compare_all(
    primary: str,
    arms_of_metric: Callable[[str], Arms],
    noise_floor_of: Callable[[str], float | None],
    *,
    threshold: float,
    rate: float | None = None,
    alpha: float = ALPHA,
) -> tuple[Comparison, ...]:
    """Return the comparison of the *primary* metric, then of all other metrics in both arms.

    *arms_of_metric* and *noise_floor_of* take the name of a metric. *threshold*, *rate* and
    *alpha* are as for `compare`.
    """
    others = (metric for metric in METRICS if metric != primary)
    sides = {metric: arms_of_metric(metric) for metric in (primary, *others)}
    comparisons = [
        compare(
            metric,
            arms,
            noise_floor=noise_floor_of(metric),
            threshold=threshold,
            rate=rate,
            alpha=alpha,
        )
        for metric, arms in sides.items()
        if metric == primary or (arms.before and arms.after)
    ]
    return adjusted(comparisons, alpha)


def adjusted(comparisons: Sequence[Comparison], alpha: float = ALPHA) -> tuple[Comparison, ...]:
    """Return *comparisons* with Holm's correction for all metrics except the first, the primary.

    If the corrected p value of a metric is not below *alpha*, its verdict becomes inconclusive.
    """
    known = [c.p for c in comparisons[1:] if c.p is not None]
    corrected = iter(holm(known))
    return tuple(
        c if n == 0 or c.p is None else _corrected(c, next(corrected), len(known), alpha)
        for n, c in enumerate(comparisons)
    )


def noise_floor(arms: Arms) -> float | None:
    """Return the noise floor of an A/A run, whose two arms are the same.

    The noise floor is the largest distance of the 95 % interval from 1, as a share (0.02 = 2 %);
    None if the run has too few trials.
    """
    if _too_few(arms) or _not_positive(arms):
        return None
    low, high = estimate(arms).interval
    # If the interval of an A/A run does not contain 1, its distance from 1 is noise too.
    return max(abs(high - 1), abs(1 - low), (high - low) / 2)


def floor_of(
    trials: Sequence[Trial], metric: str, rate: float | None, covariate: str | None = None
) -> float | None:
    """Return the noise floor of *metric* at *rate* connections/s, from the trials of an A/A run.

    *covariate* names the metric at equal values of which the arms are compared. If the run has a
    single rate, that rate is used. Raises `PlanError` if the run has several rates, none of which
    is *rate*.
    """
    rates = {trial.offered_rate for trial in trials if trial.pair is not None and trial.valid}
    return noise_floor(arms_of(trials, metric, rate if len(rates) > 1 else None, covariate))


def own_floor_of(
    trials: Sequence[Trial], metric: str, rate: float | None, covariate: str | None = None
) -> float | None:
    """Return the noise floor that the trials of a comparison in pairs show by themselves, a share.

    It comes from neighbouring trials of the same arm. None if there are too few of them.
    *covariate* is as for `floor_of`.
    """
    return noise_floor(neighbours_of(trials, metric, rate, covariate))


def with_floor(comparisons: Sequence[Comparison], *, own: bool) -> tuple[Comparison, ...]:
    """Return *comparisons* with their field `own_floor` set to *own*.

    *own* is True if the noise floor comes from the compared trials, not from an A/A run. A
    comparison without a noise floor gets False.
    """
    return tuple(
        msgspec.structs.replace(c, own_floor=own and c.noise_floor is not None)
        for c in comparisons
    )


def no_noise_floor(metric: str) -> str:
    """Return a message that says why an A/A run gives no noise floor for *metric*."""
    return (
        f"The A/A run has too few valid trials for a noise floor of {metric}. "
        f"A noise floor needs {LEAST_PAIRS} pairs, or {LEAST_TRIALS} trials in each arm."
    )


def too_few_pairs(pairs: int) -> str | None:
    """Return a message that no run of *pairs* pairs can give a verdict; None if it can."""
    if pairs >= LEAST_PAIRS:
        return None
    planned = "1 pair is" if pairs == 1 else f"{pairs} pairs are"
    return f"A verdict needs {LEAST_PAIRS} valid pairs of trials, but only {planned} planned."


def require_pairs(pairs: int, remedy: str) -> None:
    """Raise `PlanError` with *remedy* if *pairs* pairs cannot give a verdict."""
    if (message := too_few_pairs(pairs)) is not None:
        raise PlanError(f"{message} {remedy}")


def _corrected(comparison: Comparison, p: float, metrics: int, alpha: float) -> Comparison:
    comparison = msgspec.structs.replace(comparison, p_holm=p)
    if comparison.verdict not in {Verdict.IMPROVED, Verdict.REGRESSED} or p < alpha:
        return comparison
    reason = f"p is {p:.3f} after Holm's correction for {metrics} secondary metrics"
    return msgspec.structs.replace(comparison, verdict=Verdict.INCONCLUSIVE, reason=reason)


def _metric(name: str) -> Metric:
    if name not in METRICS:
        raise PlanError(f"{name} is not a metric. Choose one of {', '.join(sorted(METRICS))}.")
    return METRICS[name]


def _too_few(arms: Arms) -> str | None:
    if arms.paired and len(arms.before) < LEAST_PAIRS:
        return f"only {len(arms.before)} pairs are valid, but a verdict needs {LEAST_PAIRS}"
    fewest = min(len(arms.before), len(arms.after))
    if not arms.paired and fewest < LEAST_TRIALS:
        return f"an arm has only {fewest} valid trials, but a verdict needs {LEAST_TRIALS}"
    return None


def _not_positive(arms: Arms) -> str | None:
    values = (*arms.before, *arms.after)
    if all(_SMALLEST < value < _LARGEST for value in values):
        return None
    if min(values) <= 0:
        return "a trial has a value of zero or less, but a ratio needs values above zero"
    return "a trial has a value that is too small or too large to be a measurement"


def _verdict(
    effect: Estimate,
    metric: Metric,
    noise: float | None,
    threshold: float,
    arms: Arms,
) -> tuple[Verdict, str | None]:
    low, high = effect.interval
    if 1 / (1 + threshold) < low and high < 1 + threshold:
        return Verdict.EQUIVALENT, None
    if low <= 1 <= high or effect.p >= effect.alpha:
        return Verdict.INCONCLUSIVE, _indistinguishable(effect, threshold, arms)
    if effect.effect <= threshold:
        return (
            Verdict.INCONCLUSIVE,
            f"the effect is below {_percent(threshold)}, the smallest effect that matters",
        )
    if noise is not None and effect.effect <= noise:
        return Verdict.INCONCLUSIVE, f"the effect is within the noise floor of {_percent(noise)}"
    better = (effect.log_ratio > 0) == (metric.better == "higher")
    return (Verdict.IMPROVED if better else Verdict.REGRESSED), None


def _indistinguishable(effect: Estimate, threshold: float, arms: Arms) -> str:
    pairs = len(arms.before)
    target = max(effect.effect, threshold)
    scale = math.log1p(effect.detectable) / math.log1p(target)
    needed = max(pairs, math.ceil(pairs * scale**2))
    unit = "pairs" if arms.paired else "trials per arm"
    # To repeat the same run until it shows an effect would report effects that do not exist.
    return (
        f"no effect distinguishable from noise: {pairs} {unit} can detect a change of "
        f"{_percent(effect.detectable)} or more; to detect {_percent(target)}, do not extend or "
        "repeat this run: plan a new run with longer windows, on a quieter machine, at another "
        f"rate, or with about {needed} {unit}"
    )


def _percent(share: float) -> str:
    return f"{round(100 * share, 1):g} %"
