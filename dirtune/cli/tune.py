"""Measure, fix, measure the same traffic again, and keep what helped."""

import shlex
import sys
from pathlib import Path

import click

from dirtune.cli import _output
from dirtune.cli._amount import Amount
from dirtune.cli._group import Command
from dirtune.jobs import plan_files


@click.command(cls=Command)
@click.argument("plan", required=False)
@click.option(
    "--check",
    "words",
    multiple=True,
    metavar="CHECK[/FIX]",
    help="What to fix; may be repeated. [default: all that is safe]",
)
@click.option("--all", "together", is_flag=True, help="All fixes together instead of one by one.")
@click.option(
    "--live",
    type=Amount(min=1),
    metavar="SECONDS",
    help="Send nothing: compare windows of that length of the traffic that is there.",
)
@click.option("--pairs", type=click.IntRange(min=1), help="Of trials; default: the plan's, or 8.")
@click.option(
    "--boots",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Of each arm, for a fix that needs them; fewer than 5 give no verdict.",
)
@click.option("--keep-equivalent", is_flag=True, help="Keep also what costs nothing.")
@click.option("--resume", is_flag=True, help="Go on with the session that is not finished.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default="dirtune-runs")
@click.option(
    "--noise",
    type=click.Path(path_type=Path, exists=True),
    help="An A/A run: the noise floor, and how this machine usually is.",
)
@click.option("--format", type=click.Choice(["table", "json", "markdown"]), default="table")
def command(
    plan: str | None,
    words: tuple[str, ...],
    together: bool,
    live: float | None,
    pairs: int | None,
    boots: int,
    keep_equivalent: bool,
    resume: bool,
    out: Path,
    noise: Path | None,
    format: str,
) -> None:
    """Measure, fix, measure the same traffic again, and keep what helped.

    One fix after the other; one that may interrupt traffic or needs a boot only if named. It
    stays if the verdict is `improved`, or if it mends what goes wrong and is `equivalent`; else
    it is taken back. One that needs a boot is compared over boots, in the lab by itself;
    elsewhere it says when to boot the director, and --resume goes on. Without PLAN: dirtune.toml
    here, else the plan of a running lab. Exit status 2 if a fix could not be tried to the end,
    else 1 if a verdict is `regressed`.
    """
    from dirtune.change.fixes import named
    from dirtune.jobs import tuning
    from dirtune.tune.decide import Wishes
    from dirtune.tune.session import Asked

    named(words)  # a check that there is not is known before anything is measured
    found = tuning.plan(plan_files.locate(plan), live, pairs)
    tune = tuning.tune(found, out, boots, noise)
    wishes = Wishes(words, together, live=live is not None)
    line = shlex.join(("dirtune", *sys.argv[1:]))
    kept, waits = tuning.run(tune, None if resume else Asked(wishes, line, keep_equivalent))
    _output.result(tuning.text(tune, kept, waits, format), format)
    sys.exit(tuning.status(kept.session))
