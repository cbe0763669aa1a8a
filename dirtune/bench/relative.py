"""Find trials during which this machine's load differed from the rest of their campaign. Pure.

If all nodes share one machine, no load is too high in itself, but trials can be compared only if
the machine's load was alike. A trial is compared with the median of its own arm, so that a
difference between the arms does not count against it. The limit depends on the campaign's own
spread, so that a machine that is never quiet gives a result, too. Only the machine's load decides,
never the results of the trials.
"""

import statistics
from collections.abc import Iterator, Sequence

import msgspec

from dirtune.analyse.run import Trial, TrialKind, Validity
from dirtune.plan.tables import Plan

WATCHED = {"busy": "CPU use", "steal": "stolen CPU time"}
"""Keys of `Trial.host`, and their names in messages."""
# A median of fewer values means little.
_LEAST_TRIALS = 5
# In a normal distribution, the standard deviation is 1.4826 times the median distance.
_SPREADS = 4 * 1.4826


def calibrated(plan: Plan, noise: Sequence[Trial]) -> Plan:
    """Return the plan with its relative limits widened to the spread of *noise*, its A/A run.

    The spread is four standard deviations of this machine's load, over single trials and between
    the two trials of a pair. Nothing was switched in the A/A run, so a difference of that size is
    normal here. A limit that is not set stays unset.
    """
    counted = [trial for trial in noise if trial.kind == TrialKind.JUDGED and trial.valid]
    usual = [
        _usual([t.host[state] for t in counted if state in t.host and t.offered_rate == rate])
        for state in WATCHED
        for rate in {trial.offered_rate for trial in counted}
    ]
    seen = {
        "far": max(usual, default=0.0),
        "pair_steal": _apart(counted, "steal"),
        "pair_busy": _apart(counted, "busy"),
    }
    wider = {
        name: max(limit, seen[name])
        for name in seen
        if (limit := getattr(plan.validity, name)) is not None
    }
    validity = msgspec.structs.replace(plan.validity, **wider)
    return msgspec.structs.replace(plan, validity=validity)


def far(trials: Sequence[Trial], points: float) -> tuple[Trial, ...]:
    """Return the valid judged trials whose machine load was far from the rest, marked as noisy.

    A load is far if it differs from the median by more than *points* percentage points, and by
    more than four standard deviations of the same arm's trials at the same rate.
    """
    groups: dict[tuple[str, str, float], list[Trial]] = {}
    for trial in trials:
        if trial.kind == TrialKind.JUDGED and trial.valid:
            groups.setdefault((trial.cell, trial.arm, trial.offered_rate), []).append(trial)
    noisy: dict[str, Trial] = {}
    for group in groups.values():
        for state, word in WATCHED.items():
            noisy |= {trial.id: trial for trial in _far(group, state, word, points)}
    return tuple(noisy.values())


def _far(group: Sequence[Trial], state: str, word: str, points: float) -> Iterator[Trial]:
    known = [(trial, trial.host[state]) for trial in group if state in trial.host]
    if len(known) < _LEAST_TRIALS:
        return
    values = [value for _, value in known]
    middle, limit = statistics.median(values), max(points, _usual(values))
    for trial, value in known:
        if abs(value - middle) > limit:
            reason = (
                f"this machine's {word} was {value:.1f} %, while the median of the campaign's "
                f"trials of arm {trial.arm} is {middle:.1f} %"
            )
            yield msgspec.structs.replace(trial, validity=Validity.NOISY, reason=reason)


def _usual(values: Sequence[float]) -> float:
    """Estimate four standard deviations from the median distance; 0 for too few values."""
    if len(values) < _LEAST_TRIALS:
        return 0.0
    middle = statistics.median(values)
    return _SPREADS * statistics.median(abs(value - middle) for value in values)


def _apart(trials: Sequence[Trial], state: str) -> float:
    """Estimate four standard deviations of the difference within pairs; 0 for too few pairs."""
    pairs: dict[int, list[float]] = {}
    for trial in trials:
        if trial.pair is not None and state in trial.host:
            pairs.setdefault(trial.pair, []).append(trial.host[state])
    apart = [abs(seen[0] - seen[1]) for seen in pairs.values() if len(seen) == 2]
    # Half of the pairs are within the median distance; which arm came first does not matter.
    return _SPREADS * statistics.median(apart) if len(apart) >= _LEAST_TRIALS else 0.0
