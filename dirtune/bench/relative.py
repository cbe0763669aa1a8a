"""Find trials during which the load of this machine differed from the other trials. Pure.

If all nodes run on one machine, two trials can be compared only if the machine was equally busy
during both. The machine's load during a trial is compared with the median over the trials of the
same arm, because the fix itself may change the load. The limit widens with the spread of the load,
so that even a machine that is never quiet gives a result. The results of the trials are ignored.
"""

import statistics
from collections.abc import Iterator, Sequence

import msgspec

from dirtune.analyse.run import Trial, TrialKind, Validity
from dirtune.plan.tables import Plan

WATCHED = {"busy": "CPU use", "steal": "stolen CPU time"}
"""The CPU times of this machine that are compared, and their names in messages."""
# The median of fewer values means little.
_LEAST_TRIALS = 5
# In a normal distribution, the standard deviation is 1.4826 times the median distance.
_SPREADS = 4 * 1.4826


def calibrated(plan: Plan, noise: Sequence[Trial]) -> Plan:
    """Return *plan* with the limits for this machine's load widened to what is normal here.

    *noise* are the trials of an A/A run, in which no fix was applied. The limit for a trial
    becomes at least four standard deviations of the load, and each limit for a pair at least four
    standard deviations of the difference between its two trials. A limit that the plan does not
    set stays unset.
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
    """Return the trials during which this machine's load was unusual, marked as noisy.

    The load is unusual if it differs from the median, over the valid trials of the same arm at the
    same rate, by more than *points* percentage points and by more than four standard deviations.
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
                f"this machine's {word} was {value:.1f} %, while the median over all trials of "
                f"arm {trial.arm} is {middle:.1f} %"
            )
            yield msgspec.structs.replace(trial, validity=Validity.NOISY, reason=reason)


def _usual(values: Sequence[float]) -> float:
    """Return an estimate of four standard deviations; 0 if there are too few values.

    The estimate uses the median distance from the median, which outliers hardly change.
    """
    if len(values) < _LEAST_TRIALS:
        return 0.0
    middle = statistics.median(values)
    return _SPREADS * statistics.median(abs(value - middle) for value in values)


def _apart(trials: Sequence[Trial], state: str) -> float:
    """Return an estimate of four standard deviations of the difference between paired trials.

    *state* is the compared CPU state. The result is 0 if there are too few pairs.
    """
    pairs: dict[int, list[float]] = {}
    for trial in trials:
        if trial.pair is not None and state in trial.host:
            pairs.setdefault(trial.pair, []).append(trial.host[state])
    apart = [abs(seen[0] - seen[1]) for seen in pairs.values() if len(seen) == 2]
    # Half of the pairs differ by less than the median; the order of the arms does not matter.
    return _SPREADS * statistics.median(apart) if len(apart) >= _LEAST_TRIALS else 0.0
