"""Render the reports of runs, and write them into folders."""

import importlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, cast

from dirtune import reading, writing
from dirtune.analyse.run import Comparison, Run
from dirtune.bench import store
from dirtune.errors import NotPossible
from dirtune.extras import remedy
from dirtune.render.blocks import Document
from dirtune.render.tune import Results

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.,:=+-]{0,99}")
_REPORT = ("jinja2", "altair", "vl-convert-python")


class Renderer(Protocol):
    """The functions of the module `dirtune.render.report`, which is imported only for a report."""

    def html(self, run: Run, *, paper: bool = False) -> str:
        """Return the report as an HTML page."""
        ...

    def markdown(
        self, run: Run, figures: frozenset[str] = frozenset(), *, paper: bool = False
    ) -> str:
        """Return the report in Markdown."""
        ...

    def of_document(self, doc: Document) -> str:
        """Return a document without charts as an HTML page."""
        ...

    def of_comparisons(self, comparisons: Sequence[Comparison], names: Sequence[str]) -> str:
        """Return a comparison as an HTML page."""
        ...

    def of_session(self, results: Results) -> str:
        """Return a session of `dirtune tune` as an HTML page."""
        ...

    def files(self, run: Run, *, paper: bool = False) -> dict[str, str]:
        """Return the report's files by name."""
        ...


def write(run: Run, folder: Path, *, paper: bool = False) -> Path:
    """Write the report's files into *folder*, and return the path of the HTML page."""
    files = renderer().files(run, paper=paper)
    store.make(folder)
    for name, text in files.items():
        writing.replace(folder / name, text.encode())
    return folder / "report.html"


def places(runs: Sequence[Run], out: Path) -> Iterator[Path]:
    """Yield a folder below *out* for the report of each of *runs*; *out* itself for a single run.

    A folder is named after the run's id, or after the run's number if an earlier run has the same
    id or if the id is not a plain name (somebody else's run may have a path as its id).
    """
    if len(runs) == 1:
        yield out
        return
    taken: set[str] = set()
    for number, run in enumerate(runs, 1):
        own = _PLAIN.fullmatch(run.id) is not None and run.id not in taken
        name = run.id if own else f"run-{number}"
        taken.add(name)
        yield out / name


def beside(run: Path) -> Path:
    """Return the folder for the report of *run*, a folder of a run or the path of a file.

    That is the folder of the run. A file that is not called run.json gets a folder of its own.
    """
    if reading.is_folder(run):
        return run
    return run.parent if run.name == "run.json" else run.with_name(f"{run.name}-report")


def renderer() -> "Renderer":
    """Import the module that renders reports; raises `NotPossible` if a package is missing."""
    try:
        return cast("Renderer", importlib.import_module("dirtune.render.report"))
    except ModuleNotFoundError as error:
        raise NotPossible(
            f"A report needs the Python module {error.name}, which is missing. {remedy(*_REPORT)}"
        ) from error
