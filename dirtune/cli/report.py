"""Turn finished runs into a report: HTML, Markdown or JSON."""

import importlib
from pathlib import Path
from types import ModuleType

import click
import msgspec

from dirtune.analyse.run import Run
from dirtune.errors import NotPossible

_REMEDY = "pip install 'dirtune[report]'"


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
            _write(run, out / run.id if len(runs) > 1 else out)
        elif form == "json":
            click.echo(msgspec.json.encode(run))
        else:
            click.echo(_printed(run, form))


def _printed(run: Run, form: str) -> str:
    text: str = getattr(_renderer(), form)(run)
    return text


def _write(run: Run, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in _renderer().files(run).items():
        (folder / name).write_text(text, encoding="utf-8")
    click.echo(folder / "report.html")


def _renderer() -> ModuleType:
    try:
        return importlib.import_module("dirtune.render.report")
    except ModuleNotFoundError as error:
        raise NotPossible(f"report: no Python module {error.name}: {_REMEDY}") from error
