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
    help="Print the report in this format instead of writing files.",
)
@click.option(
    "-o",
    "--out",
    type=NEW_FOLDER,
    metavar="DIR",
    help="Write report.html, report.md and the charts into DIR; `-` prints the report."
    "  [default: the folder of the run]",
)
@click.option("--open", "opened", is_flag=True, help="Open report.html in the web browser.")
def command(
    runs: tuple[Path, ...],
    example: str | None,
    paper: bool,
    form: str | None,
    out: Path | None,
    opened: bool,
) -> None:
    """Turn finished runs into a report in HTML, Markdown or JSON.

    RUN is the folder of a run. The command writes report.html, report.md and the charts into that
    folder, and prints the path of report.html. The page needs no network. With several runs, -o
    makes a folder for each below DIR.

    Examples:
      dirtune report dirtune-runs/20260730-101500-a1b2 --open
      dirtune report dirtune-runs/20260730-101500-a1b2 -o report
      dirtune report dirtune-runs/20260730-101500-a1b2 -o - > report.html
      dirtune report --example paper --format markdown
    """
    from dirtune.bench import store

    loaded = [store.load(folder) for folder in runs]
    beside = [_reports.beside(folder) for folder in runs]
    if example is not None:
        loaded.append(store.example(example))
        beside.append(Path(f"{example}-report"))
        paper = True
    if not loaded:
        raise NotPossible("Name the folder of a run, or --example paper.")
    if out == _STDOUT or (out is None and form is not None):
        _print(loaded, form or "html", paper=paper, opened=opened)
        return
    folders = beside if out is None else _reports.places(loaded, out)
    for run, place in zip(loaded, folders, strict=True):
        page = _reports.write(run, place, paper=paper)
        _output.result(str(page), "text")
        if opened and click.launch(str(page.resolve())):
            _output.warning(f"No web browser could be started. Open {page} yourself.")


_STDOUT = Path("-")


def _print(loaded: list[Run], form: str, *, paper: bool, opened: bool) -> None:
    if opened:
        raise NotPossible("--open needs a file. Leave out --format and -o -.")
    if form == "html" and len(loaded) > 1:
        raise NotPossible("An HTML page can hold only one run. Give -o DIR for several runs.")
    for run in loaded:
        _output.result(_printed(run, form, paper=paper), form)


def _printed(run: Run, form: str, *, paper: bool) -> str:
    if form == "json":
        return msgspec.json.encode(run).decode()
    renderer = _reports.renderer()
    show = renderer.html if form == "html" else renderer.markdown
    return show(run, paper=paper)
