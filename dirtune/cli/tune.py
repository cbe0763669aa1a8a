"""Measure, fix, measure the same traffic again, and judge."""

import asyncio
import shlex
import sys
from pathlib import Path

import click

from dirtune.cli import _plan


@click.command()
@click.argument("plan", required=False)
@click.option("--check", default="irq/shared-with-nic", show_default=True, help="What to fix.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default="dirtune-runs")
@click.option("--noise", type=click.Path(path_type=Path, exists=True), help="An A/A run.")
@click.option("--format", type=click.Choice(["table", "json", "markdown"]), default="table")
def command(plan: str | None, check: str, out: Path, noise: Path | None, format: str) -> None:
    """Measure, fix the finding CHECK, measure the same traffic again, and judge.

    Without PLAN: dirtune.toml here, else the plan of a running lab. The fix stays only if the
    verdict is `improved`. Exit status 1 if it is `regressed`.
    """
    from dirtune import loop
    from dirtune.analyse import compare
    from dirtune.bench import store
    from dirtune.cli import _report

    found = _plan.find(plan)
    floor = None
    if noise is not None:
        floor = compare.noise_floor(compare.arms_of(store.load(noise), found.compare.primary))
    line = shlex.join(("dirtune", *sys.argv[1:]))
    trying = loop.Trying(found, check, found.title or check, line, noise_floor=floor)
    kept = loop.begin(trying, out)
    asyncio.run(loop.turn(trying, kept, lambda text: click.echo(f"  {text}", err=True)))
    _report.write(kept.run, kept.folder)
    click.echo(_report.closing(kept.run, kept.folder, format))
    sys.exit(1 if kept.run.comparisons[0].verdict == "regressed" else 0)
