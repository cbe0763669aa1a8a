"""Say whether one set of trials is better than another, and how sure that is."""

import sys
from typing import TYPE_CHECKING

import click
import msgspec

from dirtune.cli import _output
from dirtune.cli._group import Command
from dirtune.cli._options import FORMAT

if TYPE_CHECKING:
    from dirtune.analyse.run import Comparison


@click.command(cls=Command)
@click.argument("before", metavar="A")
@click.argument("after", metavar="B", required=False)
@click.option("--metric", help="Default: the first run's primary metric.")
@click.option("--all", "every", is_flag=True, help="The other metrics too, corrected by Holm.")
@click.option("--rate", type=float, help="Compare at this offered rate only.")
@click.option("--noise", metavar="RUN", help="An A/A run, whose spread is the noise floor.")
@FORMAT
def command(
    before: str,
    after: str | None,
    metric: str | None,
    every: bool,
    rate: float | None,
    noise: str | None,
    form: str,
) -> None:
    """Say whether B is better than A, and how sure that is.

    A and B are folders of runs or files of pyperf, or one arm or cell of a run (RUN:A, RUN:B,
    RUN:scheduler=wlc). One RUN alone compares its own two arms, pair by pair. Exit status 1 means
    B is worse.
    """
    from dirtune.analyse.run import Verdict
    from dirtune.jobs import comparisons

    results = comparisons.compared(before, after, metric, rate, noise, every=every)
    _output.result(_printed(results, form, every=every), form, end="")
    sys.exit(1 if results[0].verdict == Verdict.REGRESSED else 0)


def _printed(comparisons: "tuple[Comparison, ...]", form: str, *, every: bool) -> str:
    from dirtune.render import comparison as render

    if form == "json":
        many: render.ComparisonsDocument = {
            "schema": "dirtune/comparisons/1",
            "comparisons": comparisons,
        }
        text = msgspec.json.encode(many if every else comparisons[0])
        return f"{msgspec.json.format(text).decode()}\n"
    show = render.table if form == "table" else render.markdown
    return "\n".join(map(show, comparisons))
