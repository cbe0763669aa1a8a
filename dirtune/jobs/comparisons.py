"""The job of `dirtune compare`: compare two sets of trials, and give a verdict."""

from pathlib import Path

from dirtune import reading
from dirtune.analyse import compare, looks
from dirtune.analyse.arms import Arms, arms_between, arms_of, same_rate
from dirtune.analyse.run import Comparison, Run, Trial
from dirtune.bench import store
from dirtune.errors import PlanError


def compared(
    before: str,
    after: str | None,
    metric: str | None,
    rate: float | None,
    noise: str | None,
    *,
    every: bool,
) -> tuple[Comparison, ...]:
    """Compare the primary metric, and with *every* also the other metrics.

    *before*, *after* and *noise* each name a run, or one arm or cell of a run (RUN:A). *rate* is
    in connections/s. Raises `PlanError` if the trials cannot be compared.
    """
    run = _load(before)[0]
    primary = metric or run.primary_metric
    arms = _arms(before, after, primary, rate)
    planned = run.looks if arms.paired else None
    looks.require_planned(planned, len(arms.before))
    own = (
        arms.paired and noise is None and not any(map(_has_floor_of_another_run, run.comparisons))
    )
    trials = _load(before)[1] if after is None else run.trials
    comparisons = compare.compare_all(
        primary,
        lambda name: _arms(before, after, name, rate),
        lambda name: (
            compare.own_floor_of(trials, name, rate, _covariate(run, name))
            if own
            else _floor(noise, run, name, rate)
        ),
        threshold=_threshold(run),
        alpha=looks.alpha(planned),
    )
    comparisons = compare.with_floor(comparisons, own=own)
    if noise is not None and comparisons[0].noise_floor is None:
        raise PlanError(f"{noise}: {compare.no_noise_floor(primary)}")
    return looks.with_design(comparisons if every else comparisons[:1], planned)


def _arms(before: str, after: str | None, metric: str, rate: float | None) -> Arms:
    run, trials = _load(before)
    if after is None:
        if len({trial.arm for trial in trials}) == 1 < len({trial.arm for trial in run.trials}):
            raise PlanError(f"{before} is a single arm. Also name a run or arm to compare with.")
        return arms_of(trials, metric, rate, _covariate(run, metric))
    other, others = _load(after)
    if run.id == other.id and {before[-2:], after[-2:]} == {":A", ":B"}:
        arms = arms_of(run.trials, metric, rate, _covariate(run, metric))
        return arms if before.endswith(":A") else arms.swapped
    return arms_between(trials, others, metric, rate)


def _covariate(run: Run, metric: str) -> str | None:
    return run.plan.compare.covariate if metric == run.primary_metric else None


def _has_floor_of_another_run(comparison: Comparison) -> bool:
    return comparison.noise_floor is not None and not comparison.own_floor


def _floor(noise: str | None, run: Run, metric: str, rate: float | None) -> float | None:
    if noise is not None:
        return compare.floor_of(_load(noise)[1], metric, rate, _covariate(run, metric))
    known = (
        c.noise_floor
        for c in run.comparisons
        if c.metric == metric and (c.rate is None or same_rate(c.rate, rate))
    )
    return next(known, None)


def _threshold(run: Run) -> float:
    """Return the smallest effect that matters, as a fraction, from the plan of *run*."""
    percent = run.plan.compare.threshold
    return compare.THRESHOLD if percent is None else percent / 100


def _load(name: str) -> tuple[Run, tuple[Trial, ...]]:
    """Return a run and its trials; for RUN:ARM or RUN:CELL, only that arm's or cell's trials."""
    folder, colon, part = name.partition(":")
    if reading.exists(name) or not colon:
        run = store.load(Path(name))
        return run, run.trials
    run = store.load(Path(folder))
    trials = tuple(trial for trial in run.trials if part in {trial.arm, trial.cell})
    if not trials:
        known = sorted({trial.arm for trial in run.trials} | {trial.cell for trial in run.trials})
        raise PlanError(
            f"{folder} has no arm or cell {part}. Choose one of {', '.join(filter(None, known))}."
        )
    return run, trials
