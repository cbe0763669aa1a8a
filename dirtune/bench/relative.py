"""Trials during which this machine was unlike the rest of their campaign. Pure.

If all nodes share one machine, no load of it is too high in itself: the trials that are compared
must have had the same. A trial is compared with the median of its own arm, so that the difference
of the arms is no reason, and with the campaign's own spread, so that a machine that is never quiet
gives a result as well. Only the machine's load counts, never the results.
"""

import statistics
from collections.abc import Iterator, Sequence

import msgspec

from dirtune.analyse.run import Trial, TrialKind, Validity
from dirtune.plan.tables import Plan

WATCHED = {"busy": "busy", "steal": "stolen"}
"""States of the machine that ran dirtune, as `Trial.host` has them, in words."""
# The median of fewer says little.
_LEAST_TRIALS = 5
# Of a normal distribution 1.4826 times the median distance is the standard deviation.
_SPREADS = 4 * 1.4826


def calibrated(plan: Plan, noise: Sequence[Trial]) -> Plan:
    """Return the plan with its relative limits at least as wide as its A/A run *noise* was.

    Four standard deviations of this machine's load while nothing was switched, in any trial and
    between the two of a pair, are no reason to leave a trial out. A limit that is not set stays
    unset.
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
    """Return those valid judged trials that were far from the rest, marked as noisy.

    Far is more than *points* per cent of the machine's time and more than four standard
    deviations of the same arm's trials at the same rate.
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
                f"this machine was {value:.1f} % {word}, {middle:.1f} % in the middle of the "
                f"campaign's trials of arm {trial.arm}"
            )
            yield msgspec.structs.replace(trial, validity=Validity.NOISY, reason=reason)


def _usual(values: Sequence[float]) -> float:
    """Return four standard deviations as the median distance tells them; 0 for too few values."""
    if len(values) < _LEAST_TRIALS:
        return 0.0
    middle = statistics.median(values)
    return _SPREADS * statistics.median(abs(value - middle) for value in values)


def _apart(trials: Sequence[Trial], state: str) -> float:
    """Return four standard deviations between the two trials of a pair; 0 for too few pairs."""
    pairs: dict[int, list[float]] = {}
    for trial in trials:
        if trial.pair is not None and state in trial.host:
            pairs.setdefault(trial.pair, []).append(trial.host[state])
    apart = [abs(seen[0] - seen[1]) for seen in pairs.values() if len(seen) == 2]
    # Half of the pairs lie within the middle distance, and which arm came first is no matter.
    return _SPREADS * statistics.median(apart) if len(apart) >= _LEAST_TRIALS else 0.0
