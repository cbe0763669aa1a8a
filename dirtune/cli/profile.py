"""Show where the CPU time of every node goes, alone or under a plan's load."""

import asyncio

import click
import msgspec

from dirtune.analyse.profile import Profile
from dirtune.cli import _plan
from dirtune.errors import NotPossible, TrialError


@click.command()
@click.option("--duration", type=float, help="Sample this machine for so many seconds.")
@click.option(
    "--during-bench", is_flag=False, flag_value="", help="Sample all nodes under a plan's load."
)
@click.option("--rate", type=float, help="Connections/s; default: the plan's first rate.")
@click.option("--format", type=click.Choice(["table", "json", "markdown"]), default="table")
@click.option("-v", "--verbose", is_flag=True, help="Add softirq, irq and steal per CPU.")
@click.argument("cmd", nargs=-1, type=click.UNPROCESSED)
def command(
    duration: float | None,
    during_bench: str | None,
    rate: float | None,
    format: str,
    verbose: bool,
    cmd: tuple[str, ...],
) -> None:
    """Show where the CPU time of every node goes.

    With --during-bench[=PLAN] (dirtune.toml here, else a running lab) load runs through the
    director and every node is sampled once a second; else this machine alone is, for --duration
    seconds or while CMD runs.
    """
    from dirtune.render import profile as render

    if during_bench is not None:
        found = asyncio.run(_under_load(during_bench, rate))
    else:
        found = asyncio.run(_alone(duration, cmd))
    if format == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        show = render.table if format == "table" else render.markdown
        click.echo(show(found, verbose=verbose), nl=False)


async def _under_load(given: str, rate: float | None) -> Profile:
    from dirtune.analyse.profile import of_trial
    from dirtune.bench import rig
    from dirtune.bench.outcome import Order
    from dirtune.bench.trial import conduct

    plan = _plan.find(given)
    order = Order("profile", "A", "profiled", rate or plan.load.rates[0])
    click.echo(f"load through {plan.url} for {plan.load.load_s:g} s", err=True)
    async with rig.opened(plan) as nodes:
        result = await conduct(nodes, plan, order)
    if not result.trial.nodes:
        raise TrialError(result.trial.reason or "no node was sampled")
    return of_trial(result.trial, result.handlers, tuple(nodes.roles()))


async def _alone(duration: float | None, cmd: tuple[str, ...]) -> Profile:
    from dirtune.analyse import cpu
    from dirtune.bench import local

    if duration is None and not cmd:
        raise click.UsageError("say --duration SECONDS, --during-bench or -- COMMAND")
    samples = await local.during(duration, cmd)
    role = "director" if samples[0].ip_vs else "host"
    node = cpu.node_cpu("local", role, samples)
    if node is None:
        raise NotPossible("profile: ended before the second sample; let it run for 1 s or more")
    return Profile(seconds=round(samples[-1].at_s - samples[0].at_s, 3), nodes=(node,))
