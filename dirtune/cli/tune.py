"""Try the director's fixes, measure each, and keep those that help."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from dirtune.cli import _completion, _far, _output, _reports
from dirtune.cli._amount import Amount
from dirtune.cli._group import Command
from dirtune.cli._options import PAGE_FORMAT
from dirtune.jobs import plan_files

if TYPE_CHECKING:
    from dirtune.render.tune import Results
    from dirtune.tune.decide import Session
    from dirtune.tune.session import Kept


@click.command(cls=Command)
@click.argument("plan", required=False)
@click.option(
    "--check",
    "words",
    multiple=True,
    metavar="CHECK[/FIX]",
    shell_complete=_completion.fixes,
    help="Try the fix of CHECK, or the fix named FIX. Repeatable.  [default: all safe fixes]",
)
@click.option("--all", "together", is_flag=True, help="Try all fixes together, as one.")
@click.option(
    "--live",
    type=Amount(min=1),
    metavar="SECONDS",
    help="Send no load; compare windows of real traffic, each SECONDS long.",
)
@click.option(
    "--pairs",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    help="Measure NUMBER pairs of trials for each fix, 6 or more.  "
    "[default: the plan's number, or 8]",
)
@click.option(
    "--at-most",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    help="If the pairs give no verdict, measure as many again. NUMBER is the total, twice the "
    "number of pairs.  [default: the plan's number; with --pairs or --live, no more pairs]",
)
@click.option(
    "--boots",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    metavar="NUMBER",
    help="For a fix that needs a reboot, boot NUMBER times with it and NUMBER times without it. "
    "Fewer than 5 boots give no verdict.",
)
@click.option(
    "--keep-equivalent",
    is_flag=True,
    help="Also keep a fix with the verdict `equivalent` (no effect that matters) that mends no "
    "fault.",
)
@click.option("--resume", is_flag=True, help="Continue the last session that is not finished.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default="dirtune-runs",
    show_default=True,
    metavar="DIR",
    help="Write the session and its runs below DIR.",
)
@click.option(
    "--noise",
    type=click.Path(path_type=Path, exists=True),
    metavar="RUN",
    help="Take the noise floor from RUN, the folder of a run without a change (A/A).",
)
@_far.options
@PAGE_FORMAT
def command(
    plan: str | None,
    words: tuple[str, ...],
    together: bool,
    live: float | None,
    pairs: int | None,
    at_most: int | None,
    boots: int,
    keep_equivalent: bool,
    resume: bool,
    out: Path,
    noise: Path | None,
    form: str,
) -> None:
    """Try the director's fixes one by one, and keep those that help.

    Each fix is measured in pairs of trials, without it and with it. The fix stays if its verdict
    is improved, or if it mends a fault and its verdict is equivalent; otherwise it is rolled back.
    A fix that may interrupt traffic or needs a boot is tried only if --check names it. A fix that
    needs a boot is compared over several boots. In the lab dirtune boots the director; elsewhere
    it says when to boot it, and --resume continues.

    PLAN is the bench plan.  [default: ./dirtune.toml, or the plan of a running lab]

    Exit status: 2 if a fix could not be tried to the end, 1 if a verdict is regressed, else 0.

    Examples:
      dirtune tune plan.toml
      dirtune tune plan.toml --check irq/shared-with-nic --pairs 12
      dirtune tune plan.toml --live 60 --pairs 8 --at-most 16
    """
    from dirtune.change.fixes import named
    from dirtune.jobs import tuning
    from dirtune.tune.decide import Wishes
    from dirtune.tune.session import Request

    named(words)  # a mistyped check is refused before anything is measured
    bench_plan = tuning.plan(plan_files.locate(plan), live, pairs, at_most)
    tune = tuning.tune(bench_plan, out, boots, noise, _reports.write)
    wishes = Wishes(words, together, live=live is not None)
    line = shlex.join(("dirtune", *sys.argv[1:]))
    _reports.renderer()  # a missing package must not show hours later
    kept, waits = tuning.run(tune, None if resume else Request(wishes, line, keep_equivalent))
    results = _results(bench_plan.director.host, kept.session, waits)
    _write_report(results, kept)
    _output.result(_printed(results, kept, form), form)
    sys.exit(tuning.status(kept.session))


def _printed(results: "Results", kept: "Kept", form: str) -> str:
    from dirtune.render import tune as render

    if form == "json":
        return msgspec.json.format(msgspec.json.encode(kept.session)).decode()
    if form == "markdown":
        return render.markdown(results)
    if form == "html":
        return _reports.renderer().of_session(results)
    return f"{render.table(results)}\nreport: {kept.folder / 'report.html'}"


def _write_report(results: "Results", kept: "Kept") -> None:
    from dirtune.bench import store
    from dirtune.render import tune as render

    store.write(kept.folder / "report.md", render.markdown(results).encode())
    page = _reports.renderer().of_session(results)
    store.write(kept.folder / "report.html", page.encode())


def _results(host: str, session: "Session", waits: str | None) -> "Results":
    """Return the results of a session; *waits* is the operator's next step, or None."""
    from dirtune.render.tune import Results, Row

    rows = tuple(
        Row(
            name=attempt.name,
            risk=attempt.risk,
            outcome=attempt.outcome,
            why=attempt.why,
            journal=attempt.journal,
            run=None if attempt.run is None else f"../{attempt.run}",
            titles=attempt.titles,
            comparison=attempt.comparison,
            sentence=attempt.sentence,
        )
        for attempt in session.attempts
    )
    return Results(
        title=session.title,
        host=host,
        started=session.started,
        command=session.command,
        finished=session.finished,
        rows=rows,
        notes=session.notes,
        waits=waits,
    )
