"""Say whether one set of trials is better than another, and how sure that is."""

import sys

import click

from dirtune.cli import _output
from dirtune.cli._group import Command


@click.command(cls=Command)
@click.argument("before", metavar="A")
@click.argument("after", metavar="B", required=False)
@click.option("--metric", help="Default: the first run's primary metric.")
@click.option("--all", "every", is_flag=True, help="The other metrics too, corrected by Holm.")
@click.option("--rate", type=float, help="Compare at this offered rate only.")
@click.option("--noise", metavar="RUN", help="An A/A run, whose spread is the noise floor.")
@click.option("--format", type=click.Choice(["table", "json", "markdown"]), default="table")
def command(
    before: str,
    after: str | None,
    metric: str | None,
    every: bool,
    rate: float | None,
    noise: str | None,
    format: str,
) -> None:
    """Say whether B is better than A, and how sure that is.

    A and B are folders of runs or files of pyperf, or one arm or cell of a run (RUN:A, RUN:B,
    RUN:scheduler=wlc). One RUN alone compares its own two arms, pair by pair. Exit status 1 means
    B is worse.
    """
    from dirtune.analyse.run import Verdict
    from dirtune.jobs import comparisons

    found = comparisons.compared(before, after, metric, rate, noise, every=every)
    _output.result(comparisons.printed(found, format, every=every), format, end="")
    sys.exit(1 if found[0].verdict == Verdict.REGRESSED else 0)
