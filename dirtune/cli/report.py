"""Turn finished runs into a report: HTML, Markdown or JSON."""

from pathlib import Path

import click
import msgspec

from dirtune.analyse.run import Run
from dirtune.cli import _output
from dirtune.errors import NotPossible
from dirtune.jobs import reports


@click.command("report")
@click.argument("runs", metavar="[RUN]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--example", type=click.Choice(["paper"]), help="A built-in run: the 2001 paper's.")
@click.option(
    "--paper", is_flag=True, help="The figures of the 2001 paper, of this run's numbers."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "markdown", "json"]),
    default="html",
    show_default=True,
    help="What to print; not used with -o.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write report.html, report.md and its charts into this directory.",
)
def command(
    runs: tuple[Path, ...], example: str | None, paper: bool, form: str, out: Path | None
) -> None:
    """Turn finished runs into a report.

    RUN is the folder of a run. Of several runs, -o gives each a directory of its own.
    """
    from dirtune.bench import store

    found = [store.load(folder) for folder in runs]
    if example is not None:
        found.append(store.example(example))
        paper = True
    if not found:
        raise NotPossible("report: name a run's folder, or --example paper")
    if out is None and form == "html" and len(found) > 1:
        raise NotPossible("report: one HTML page holds one run: give -o DIR for several")
    if out is None:
        for run in found:
            _output.result(_printed(run, form, paper=paper), form)
        return
    for run, place in zip(found, reports.places(found, out), strict=True):
        _output.result(str(reports.write(run, place, paper=paper)))


def _printed(run: Run, form: str, *, paper: bool) -> str:
    if form == "json":
        return msgspec.json.encode(run).decode()
    renderer = reports.renderer()
    show = renderer.html if form == "html" else renderer.markdown
    return show(run, paper=paper)
