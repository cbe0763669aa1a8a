"""Trials that saw another machine than the rest of their campaign. Pure.

Where everything shares one machine no load of it is too much in itself: what counts is whether the
trials that are compared saw the same. A trial is held against the median of its own arm, so that
what the arms differ in is no reason, and against the campaign's own spread, so that a machine that
is never quiet gives a result at all. Only what the machine did is looked at, not the results.
"""

import statistics
from collections.abc import Iterator, Sequence

import msgspec

from dirtune.analyse.run import Trial

_WATCHED = {"busy": "busy", "steal": "stolen"}
# The median of fewer says little.
_LEAST_TRIALS = 5
# Of a normal distribution 1.4826 times the median distance is the standard deviation.
_SPREADS = 4 * 1.4826


def far(trials: Sequence[Trial], points: float) -> tuple[Trial, ...]:
    """Return those valid judged trials that were far from the rest, marked as noisy.

    Far is more than *points* per cent of the machine's time and more than four standard
    deviations of the same arm's trials at the same rate.
    """
    groups: dict[tuple[str, str, float], list[Trial]] = {}
    for trial in trials:
        if trial.kind == "judged" and trial.validity == "valid":
            groups.setdefault((trial.cell, trial.arm, trial.offered_rate), []).append(trial)
    found: dict[str, Trial] = {}
    for group in groups.values():
        for state, word in _WATCHED.items():
            found |= {trial.id: trial for trial in _far(group, state, word, points)}
    return tuple(found.values())


def _far(group: Sequence[Trial], state: str, word: str, points: float) -> Iterator[Trial]:
    known = [(trial, trial.host[state]) for trial in group if state in trial.host]
    if len(known) < _LEAST_TRIALS:
        return
    middle = statistics.median(value for _, value in known)
    spread = statistics.median(abs(value - middle) for _, value in known)
    limit = max(points, _SPREADS * spread)
    for trial, value in known:
        if abs(value - middle) > limit:
            reason = (
                f"this machine was {value:.1f} % {word}, {middle:.1f} % in the middle of the "
                f"campaign's trials of arm {trial.arm}"
            )
            yield msgspec.structs.replace(trial, validity="noisy", reason=reason)
