"""Write the result of a comparison as one sentence, with the forecast. Pure."""

from dirtune.analyse.run import Comparison, Forecast
from dirtune.analyse.words import named_p

_NAMES = {
    "cpu_us_per_connection": "CPU time per connection on the director",
    "reply_rate": "the reply rate",
}


def sentence(comparison: Comparison, forecast: Forecast | None = None) -> str:
    """Return one sentence with the verdict, the ratio, its 95 % interval, p and the forecast."""
    name = _NAMES.get(comparison.metric, comparison.metric.replace("_", " "))
    where = "" if comparison.rate is None else f" at {comparison.rate:g}/s"
    head = f"{comparison.verdict.capitalize()}: {name}{where}"
    if comparison.ratio is None or comparison.interval is None:
        return f"{head} cannot be judged: {comparison.reason}."
    low, high = comparison.interval
    text = (
        f"{head} changed to {comparison.ratio:.3f} times its earlier value "
        f"({interval_name(comparison)} {low:.3f} to {high:.3f}, {named_p(comparison.p)}, "
        f"{_amount(comparison)})"
    )
    text += _adjustment(comparison)
    if comparison.own_floor and comparison.noise_floor is not None:
        text += f"; the noise floor of this run is {100 * comparison.noise_floor:.1f} %"
    if comparison.reason:
        text += f"; {comparison.reason}"
    if forecast is not None and forecast.ratio is not None:
        text += f"; the probe forecast {forecast.ratio:.3f}"
    return f"{text}."


def _adjustment(comparison: Comparison) -> str:
    if comparison.covariate is None or comparison.covariate_means is None:
        return ""
    metric = comparison.covariate.replace("_", " ")
    before, after = comparison.covariate_means
    return (
        f" at equal {metric} ({comparison.unadjusted:.3f} without this adjustment; {metric} went "
        f"from {before:.3g} to {after:.3g})"
    )


def interval_name(comparison: Comparison) -> str:
    """Return the level of the interval in words, such as `95 % interval`."""
    return f"{100 * comparison.level:.4g} % interval"


def _amount(comparison: Comparison) -> str:
    if comparison.pairs:
        return f"{comparison.pairs} pairs"
    return f"{len(comparison.before)} and {len(comparison.after)} trials"
