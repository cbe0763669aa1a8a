"""Compare two sets of trials."""

import sys
from typing import TYPE_CHECKING

import click
import msgspec

from dirtune.cli import _completion, _output, _reports
from dirtune.cli._group import Command
from dirtune.cli._options import PAGE_FORMAT

if TYPE_CHECKING:
    from dirtune.analyse.run import Comparison


@click.command(cls=Command)
@click.argument("before", metavar="A", shell_complete=_completion.runs)
@click.argument("after", metavar="[B]", required=False, shell_complete=_completion.runs)
@click.option(
    "--metric", metavar="METRIC", help="Compare METRIC. [default: the primary metric of run A]"
)
@click.option(
    "--all",
    "every",
    is_flag=True,
    help="Compare the other metrics as well, with Holm's correction.",
)
@click.option(
    "--rate",
    metavar="RATE",
    type=float,
    help="Compare only trials that offered RATE connections/s.",
)
@click.option(
    "--noise",
    metavar="RUN",
    help="Take the noise floor from RUN, an A/A run (`dirtune bench run --aa`).",
)
@PAGE_FORMAT
def command(
    before: str,
    after: str | None,
    metric: str | None,
    every: bool,
    rate: float | None,
    noise: str | None,
    form: str,
) -> None:
    """Compare B with A, and report how certain the verdict is.

    A and B are folders of runs or files of pyperf, or one arm or cell of a run (RUN:A, RUN:B,
    RUN:scheduler=wlc). Without B, the two arms of run A are compared, pair by pair. The exit
    status is 1 if B is worse.

    Examples:
      dirtune compare dirtune-runs/20260730-101500
      dirtune compare before after --all --noise aa
      dirtune compare before after --format html > comparison.html
      dirtune compare RUN:scheduler=rr RUN:scheduler=wlc --rate 400
    """
    from dirtune.analyse.run import Verdict
    from dirtune.jobs import comparisons

    results = comparisons.compared(before, after, metric, rate, noise, every=every)
    names = (before, after) if after else (before,)
    _output.result(_printed(results, form, names, every=every), form, end="")
    sys.exit(1 if results[0].verdict == Verdict.REGRESSED else 0)


def _printed(
    comparisons: "tuple[Comparison, ...]", form: str, names: tuple[str, ...], *, every: bool
) -> str:
    from dirtune.render import comparison as render

    if form == "html":
        return _reports.renderer().of_comparisons(comparisons, names)
    if form == "json":
        many: render.ComparisonsDocument = {
            "schema": "dirtune/comparisons/1",
            "comparisons": comparisons,
        }
        text = msgspec.json.encode(many if every else comparisons[0])
        return f"{msgspec.json.format(text).decode()}\n"
    show = render.table if form == "table" else render.markdown
    return "\n".join(map(show, comparisons))
