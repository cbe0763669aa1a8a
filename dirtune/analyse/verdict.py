"""A comparison in one sentence, with the forecast beside it. Pure."""

from dirtune.analyse.run import Comparison, Forecast

_NAMES = {
    "cpu_us_per_connection": "CPU time per connection on the director",
    "reply_rate": "the reply rate",
}


def sentence(found: Comparison, forecast: Forecast | None = None) -> str:
    """Return what came out, in one sentence that does not say more than was measured."""
    name = _NAMES.get(found.metric, found.metric.replace("_", " "))
    where = "" if found.rate is None else f" at {found.rate:g}/s"
    head = f"{found.verdict.capitalize()}: {name}{where}"
    if found.ratio is None or found.interval is None:
        return f"{head} cannot be judged: {found.reason}."
    low, high = found.interval
    text = (
        f"{head} went to {found.ratio:.3f} times what it was "
        f"(95 % interval {low:.3f} to {high:.3f}, p = {found.p:.3f}, {_amount(found)})"
    )
    if found.reason:
        text += f"; {found.reason}"
    if forecast is not None and forecast.ratio is not None:
        text += f"; the probe had forecast {forecast.ratio:.3f}"
    return f"{text}."


def _amount(found: Comparison) -> str:
    if found.pairs:
        return f"{found.pairs} pairs"
    return f"{len(found.before)} and {len(found.after)} trials"
