"""Turn finished runs into a report in HTML, Markdown or JSON."""

from pathlib import Path

import click
import msgspec

from dirtune.analyse.run import Run
from dirtune.cli import _completion, _output, _reports
from dirtune.cli._group import Command
from dirtune.cli._options import NEW_FOLDER, PATH
from dirtune.errors import NotPossible


@click.command("report", cls=Command)
@click.argument("runs", metavar="[RUN]...", nargs=-1, type=PATH, shell_complete=_completion.runs)
@click.option(
    "--example",
    type=click.Choice(["paper"]),
    help="Report a built-in run: `paper` is the measurement of the 2001 paper.",
)
@click.option(
    "--paper", is_flag=True, help="Draw the figures of the 2001 paper with this run's numbers."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "markdown", "json"]),
    default="html",
    help="Print the report in this format; -o writes HTML and Markdown.",
)
@click.option(
    "-o",
    "--out",
    type=NEW_FOLDER,
    metavar="DIR",
    help="Write report.html, report.md and the charts into DIR instead of printing.",
)
def command(
    runs: tuple[Path, ...], example: str | None, paper: bool, form: str, out: Path | None
) -> None:
    """Turn finished runs into a report in HTML, Markdown or JSON.

    RUN is the folder of a run. With several runs, -o makes a folder for each below DIR.

    Examples:
      dirtune report dirtune-runs/20260730-101500-a1b2 -o report
      dirtune report --example paper --format markdown
    """
    from dirtune.bench import store

    loaded = [store.load(folder) for folder in runs]
    if example is not None:
        loaded.append(store.example(example))
        paper = True
    if not loaded:
        raise NotPossible("Name the folder of a run, or --example paper.")
    if out is None and form == "html" and len(loaded) > 1:
        raise NotPossible("An HTML page can hold only one run. Give -o DIR for several runs.")
    if out is None:
        for run in loaded:
            _output.result(_printed(run, form, paper=paper), form)
        return
    for run, place in zip(loaded, _reports.places(loaded, out), strict=True):
        _output.result(str(_reports.write(run, place, paper=paper)))


def _printed(run: Run, form: str, *, paper: bool) -> str:
    if form == "json":
        return msgspec.json.encode(run).decode()
    renderer = _reports.renderer()
    show = renderer.html if form == "html" else renderer.markdown
    return show(run, paper=paper)
