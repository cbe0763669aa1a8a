"""Turn finished runs into a report: HTML, Markdown or JSON."""

from pathlib import Path

import click
import msgspec

from dirtune.analyse.run import Run
from dirtune.cli import _report
from dirtune.errors import NotPossible


@click.command("report")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
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
def command(runs: tuple[Path, ...], form: str, out: Path | None) -> None:
    """Turn finished runs into a report.

    RUN is the folder of a run. Of several runs, -o gives each a directory of its own.
    """
    from dirtune.bench import store

    if out is None and form == "html" and len(runs) > 1:
        raise NotPossible("report: one HTML page holds one run: give -o DIR for several")
    for folder in runs:
        run = store.load(folder)
        if out is not None:
            click.echo(_report.write(run, out / run.id if len(runs) > 1 else out))
        elif form == "json":
            click.echo(msgspec.json.encode(run))
        else:
            click.echo(_printed(run, form))


def _printed(run: Run, form: str) -> str:
    renderer = _report.renderer()
    return renderer.html(run) if form == "html" else renderer.markdown(run)
