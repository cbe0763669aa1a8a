"""Test if the load was steady during a window. Pure.

As in RFC 9411, the number of replies in each second must be within 5 % of the mean, and the number
of open requests within 10 %. In addition, the number of replies must not rise or fall over the
window, and the connection table may grow by at most 1 % in 10 s.
"""

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise

from dirtune.analyse.cpu import Sample

RATE_TOLERANCE, CONCURRENCY_TOLERANCE = 0.05, 0.10
DRIFT_MAX = 0.01
TABLE_GROWTH_MAX = 0.01
WARM_S = 10
"""Seconds for which the load must be steady before a window opens."""
_Z_95 = 1.96
# Differences of this size are normal, even if they are a large share of the mean: connections
# start on a grid of ticks, and the number of open connections varies by chance.
_REPLIES, _OPEN = 3, 10
_LEAST_POINTS = 8
# In a smaller table, a few more entries may be chance, even if they are a large share.
_SMALL_TABLE = 1000


def unsteady(replies: Sequence[int], concurrency: Sequence[float]) -> str | None:
    """Describe why the load was not steady; None if it was steady.

    *replies* holds the number of replies in each second, and *concurrency* the mean number of open
    requests in each second.
    """
    if len(replies) < 2 or not any(replies):
        return None
    mean = statistics.fmean(replies)
    worst = max(replies, key=lambda n: abs(n - mean))
    if abs(worst - mean) > max(RATE_TOLERANCE * mean, _REPLIES):
        return f"one second had {worst} replies, while the mean is {mean:.1f}"
    drift = _slope(replies) * len(replies) / mean
    if abs(drift) > DRIFT_MAX and _trends(replies):
        return f"the reply rate changed by {drift:+.1%} over the window"
    opened = statistics.fmean(concurrency)
    far = max(concurrency, key=lambda n: abs(n - opened))
    if opened >= _OPEN and abs(far - opened) > CONCURRENCY_TOLERANCE * opened:
        return f"one second had {far:.0f} open requests, while the mean is {opened:.0f}"
    return None


def warm(samples: Sequence[Sample]) -> bool:
    """Return whether the director's connection rate was steady for the last 10 seconds.

    *samples* were taken once a second.
    """
    if len(samples) <= WARM_S:
        return False
    last = samples[-WARM_S - 1 :]
    counts = [sample.ip_vs.get("connections") for sample in last]
    spans = [later.at_s - earlier.at_s for earlier, later in pairwise(last)]
    if None in counts or min(spans) <= 0:
        return False
    known = [count for count in counts if count is not None]
    rates = [
        round((after - before) / span)
        for (before, after), span in zip(pairwise(known), spans, strict=True)
    ]
    grew = growing(last[0].inactive, last[-1].inactive, last[-1].at_s - last[0].at_s)
    return any(rates) and unsteady(rates, (0.0,)) is None and grew is None


def growing(before: int | None, after: int | None, seconds: float) -> str | None:
    """Describe how fast the connection table grew; None if it grew slowly or is unknown.

    *before* and *after* are numbers of entries, *seconds* apart.
    """
    if before is None or after is None:
        return None
    growth = (after - before) / max(before, _SMALL_TABLE) * 10 / seconds
    if growth <= TABLE_GROWTH_MAX:
        return None
    return f"the connection table grew by {growth:.1%} in 10 s"


def _slope(values: Sequence[float]) -> float:
    return statistics.linear_regression(range(len(values)), values).slope


def _trends(values: Sequence[float]) -> bool:
    """Return whether *values* have a trend, by the Mann-Kendall test at the 5 % level."""
    n = len(values)
    if n < _LEAST_POINTS:
        return False
    score = sum((b > a) - (b < a) for i, a in enumerate(values) for b in values[i + 1 :])
    ties = (values.count(value) for value in set(values))
    variance = (n * (n - 1) * (2 * n + 5) - sum(t * (t - 1) * (2 * t + 5) for t in ties)) / 18
    return variance > 0 and (abs(score) - 1) / math.sqrt(variance) > _Z_95
