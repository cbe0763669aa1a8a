"""Run a plan's traffic: check it, sweep its rates, write an example."""

import asyncio
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from dirtune import __version__
from dirtune.analyse import compare
from dirtune.analyse.run import Run
from dirtune.bench import plan as plans
from dirtune.bench.plan import Plan
from dirtune.bench.store import Store
from dirtune.bench.trial import Result
from dirtune.cli import _plan

_FORMAT = click.option(
    "--format", type=click.Choice(["table", "json", "markdown"]), default="table"
)


@click.group()
def command() -> None:
    """Run a plan's traffic against a director.

    Without PLAN: dirtune.toml here, else the plan of a running lab.
    """


@command.command()
def example() -> None:
    """Print a plan to start from."""
    click.echo(plans.EXAMPLE, nl=False)


@command.command()
@click.argument("plan", required=False)
@_FORMAT
def check(plan: str | None, format: str) -> None:
    """Say whether every node is ready and how long it will take; starts no load."""
    from dirtune.bench.check import check as look
    from dirtune.render import readiness

    found = asyncio.run(look(_plan.find(plan)))
    if format == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        click.echo(readiness.text(found))
    if not found.ready:
        click.echo("dirtune: the plan cannot be carried out yet; see above", err=True)
        sys.exit(2)


@command.command()
@click.argument("plan", required=False)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default="dirtune-runs")
@click.option("--force", metavar="VIP", help="Bench VIP although others use it.")
@click.option("--aa", is_flag=True, help="Pairs of two equal arms: measures the noise floor.")
@_FORMAT
def run(plan: str | None, out: Path, force: str | None, aa: bool, format: str) -> None:
    """Sweep the plan's rates (or run an A/A comparison) and keep every trial."""
    from dirtune.bench import store
    from dirtune.render import sweep

    found = plans.forced(_plan.find(plan), force)
    for warning in plans.warnings(found):
        click.echo(f"warning: {warning}", err=True)
    kept = store.create(out, _new_run(found, out, aa=aa))
    asyncio.run(_campaign(found, kept, aa=aa))
    if aa:
        _judge_noise(found, kept)
    kept.save(msgspec.structs.replace(kept.run, finished=_now()))
    if format == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(kept.run)).decode())
    else:
        click.echo((sweep.table if format == "table" else sweep.markdown)(kept.run))
    click.echo(f"kept in {kept.folder}", err=True)


async def _campaign(plan: Plan, kept: Store, *, aa: bool) -> None:
    from dirtune.bench import campaign, rig

    def keep(result: Result) -> None:
        kept.keep(result)
        trial = result.trial
        label = trial.validity if trial.reason is None else f"{trial.validity}: {trial.reason}"
        click.echo(f"  {trial.id}  {trial.reply_rate:.1f} replies/s  {label}", err=True)

    async with rig.opened(plan) as nodes:
        if aa:
            await campaign.pairs(nodes, plan, campaign.stay, keep)
        else:
            await campaign.sweep(nodes, plan, keep)


def _judge_noise(plan: Plan, kept: Store) -> None:
    metric = plan.compare.primary
    arms = compare.arms_of(kept.run, metric)
    floor = compare.noise_floor(arms)
    found = compare.compare(metric, arms, threshold=plan.compare.threshold / 100)
    found = msgspec.structs.replace(found, noise_floor=floor)
    kept.save(msgspec.structs.replace(kept.run, comparisons=(found,)))
    said = "not known: too few valid pairs" if floor is None else f"{floor:.1%}"
    click.echo(f"noise floor of {metric}: {said}", err=True)


def _new_run(plan: Plan, out: Path, *, aa: bool) -> Run:
    from dirtune.bench import store

    return Run(
        id=store.new_id(out, datetime.now(UTC)),
        started=_now(),
        finished=None,
        command=shlex.join(("dirtune", *sys.argv[1:])),
        version=__version__,
        title=plan.title or ("A/A comparison" if aa else "Sweep"),
        plan=msgspec.to_builtins(plan),
        scenario=None,
        inventory={},
        primary_metric=plan.compare.primary,
        audits={},
        handlers={},
        trials=(),
        forecast=None,
        comparisons=(),
        steps=(),
        verdict=None,
        notes=plan.notes,
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
