"""Say whether one set of trials is better than another, and how sure that is."""

import sys
from pathlib import Path

import click
import msgspec

from dirtune.analyse import compare
from dirtune.analyse.compare import Arms
from dirtune.analyse.run import Run, Trial
from dirtune.errors import PlanError


@click.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar="B", required=False)
@click.option("--metric", help="Default: the first run's primary metric.")
@click.option("--rate", type=float, help="Compare at this offered rate only.")
@click.option("--noise", metavar="RUN", help="An A/A run, whose spread is the noise floor.")
@click.option("--format", type=click.Choice(["table", "json", "markdown"]), default="table")
def command(
    before: str,
    after: str | None,
    metric: str | None,
    rate: float | None,
    noise: str | None,
    format: str,
) -> None:
    """Say whether B is better than A, and how sure that is.

    A and B are folders of runs, or one arm of a run (RUN:A, RUN:B). One RUN alone compares its
    own two arms, pair by pair. Exit status 1 means B is worse.
    """
    from dirtune.render import comparison as render

    run = _load(before)[0]
    name = metric or run.primary_metric
    found = compare.compare(
        name, _arms(before, after, name, rate), noise_floor=_floor(noise, run, name)
    )
    if format == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        click.echo((render.table if format == "table" else render.markdown)(found), nl=False)
    sys.exit(1 if found.verdict == "regressed" else 0)


def _arms(before: str, after: str | None, metric: str, rate: float | None) -> Arms:
    run, trials = _load(before)
    if after is None:
        return compare.arms_of(run, metric, rate)
    other, others = _load(after)
    if run.id == other.id and {before[-2:], after[-2:]} == {":A", ":B"}:
        arms = compare.arms_of(run, metric, rate)
        swapped = arms._replace(before=arms.after, after=arms.before)
        return arms if before.endswith(":A") else swapped
    return compare.arms_between(trials, others, metric, rate)


def _floor(noise: str | None, run: Run, metric: str) -> float | None:
    if noise is not None:
        return compare.noise_floor(compare.arms_of(_load(noise)[0], metric))
    known = (c.noise_floor for c in run.comparisons if c.metric == metric)
    return next(known, None)


def _load(name: str) -> tuple[Run, tuple[Trial, ...]]:
    from dirtune.bench import store

    folder, colon, arm = name.rpartition(":")
    if not colon or arm not in {"A", "B"}:
        run = store.load(Path(name))
        return run, run.trials
    run = store.load(Path(folder))
    trials = tuple(trial for trial in run.trials if trial.arm == arm)
    if not trials:
        raise PlanError(f"{name}: the run has no trial of arm {arm}")
    return run, trials
