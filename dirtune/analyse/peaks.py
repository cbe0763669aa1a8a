"""Compare a director's peak without a fix and with it, from closed-loop trials. Pure.

A closed loop fills the director's CPU, so that the number of connections per second is as high as
the director can make it. The seconds are the director's own, because the clock of an emulated
director may be slower than the clock of the clients.
"""

import statistics
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dirtune.analyse.run import Forecast, Trial, TrialKind

_FULL_IDLE_PERCENT = 5
_POLLED = 0.5


class Peak(NamedTuple):
    """The peak of one arm, over its valid closed-loop trials."""

    rate: float
    """Mean of the trials, in connections per second of the director's clock."""
    lowest: float
    highest: float
    trials: int
    interrupts: float | None
    """Interrupts per connection on the busiest line; None if a trial did not count them."""
    idle_percent: float | None
    cpu_us: float | None
    """CPU time per connection in microseconds; None if a trial did not measure it."""


def of_arm(trials: Sequence[Trial], arm: str) -> Peak | None:
    """Return the peak of *arm*; None if it has no valid closed-loop trial."""
    mine = [t for t in trials if t.kind == TrialKind.PEAK and t.arm == arm and t.valid]
    rates = _values(mine, "director_connections_per_s")
    if not rates:
        return None
    return Peak(
        statistics.fmean(rates),
        min(rates),
        max(rates),
        len(rates),
        _mean(mine, "interrupts_per_connection"),
        _mean(mine, "director_idle_percent"),
        _mean(mine, "cpu_us_per_connection"),
    )


def sentences(trials: Sequence[Trial], forecast: Forecast | None = None) -> tuple[str, ...]:
    """Return sentences on the peak without the fix and with it; empty without such trials.

    The forecast of the peak takes the time of the useless calls per interrupt, and the number of
    interrupts per connection at the peak.
    """
    before, after = of_arm(trials, "A"), of_arm(trials, "B")
    if before is None or after is None:
        return ()
    usual = _mean(
        [t for t in trials if t.kind == TrialKind.JUDGED and t.arm == "A" and t.valid],
        "interrupts_per_connection",
    )
    rates = f"{_rate(before)} without the fix and {_rate(after)} with it"
    idle = max((p.idle_percent for p in (before, after) if p.idle_percent is not None), default=0)
    if idle > _FULL_IDLE_PERCENT:
        text = (
            f"The peak was not reached on the director's clock: {rates}, but the director's CPU "
            f"was still {idle:.0f} % idle, so the clients or the network were the limit"
        )
    else:
        text = (
            f"Peak on the director's clock: {rates}, {after.rate / before.rate:.3f} times as many"
        )
        expected = None if forecast is None else _forecast(before, usual, forecast)
        text += "" if expected is None else f"; the probe forecast {expected:.3f}"
    return (f"{text}.", *_polled(before, usual))


def _forecast(before: Peak, usual: float | None, forecast: Forecast) -> float | None:
    """Return the peak with the fix divided by the peak without it, as the probe foresees it.

    *usual* is the number of interrupts per connection at the rate of the probed trial.
    """
    wasted_us = forecast.wasted_us_per_connection
    if wasted_us is None or before.interrupts is None or not usual or not before.cpu_us:
        return None
    share = wasted_us * before.interrupts / usual / before.cpu_us
    return 1 / (1 - share) if share < 1 else None


def _rate(peak: Peak) -> str:
    several = f" ({peak.trials} trials, {peak.lowest:.0f} to {peak.highest:.0f})"
    return f"{peak.rate:.0f} connections/s{several if peak.trials > 1 else ''}"


def _polled(peak: Peak, usual: float | None) -> Iterator[str]:
    if usual is None or peak.interrupts is None or peak.interrupts > _POLLED * usual:
        return
    yield (
        f"At the peak, a connection takes {peak.interrupts:.2g} interrupts instead of "
        f"{usual:.2g}, because the kernel polls a busy NIC (NAPI). A shared line therefore costs "
        "much less at the peak than below it. The kernel of 2001 took an interrupt for every "
        "packet at any rate, and its peak rose by 12 to 15 % with separate lines."
    )


def _values(trials: Sequence[Trial], metric: str) -> list[float]:
    return [trial.metrics[metric] for trial in trials if metric in trial.metrics]


def _mean(trials: Sequence[Trial], metric: str) -> float | None:
    values = _values(trials, metric)
    return statistics.fmean(values) if values and len(values) == len(trials) else None
