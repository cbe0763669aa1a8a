"""Render the report of a run: one self-contained HTML file, or Markdown and chart files."""

import base64
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence

import jinja2
import vl_convert

from dirtune.analyse.run import Comparison, Run
from dirtune.escape import ascii_json, visible
from dirtune.render import (
    cells,
    comparison_page,
    paper_charts,
    paper_document,
    report_charts,
    tune,
    tune_page,
)
from dirtune.render.blocks import Document, Table
from dirtune.render.chart_style import MOST_MARKS, Picture, svg
from dirtune.render.each_text import each_text
from dirtune.render.markdown import code_block, escaped
from dirtune.render.report_document import document

MOST_ROWS = 2000
"""The most rows of a table that a page shows."""


def html(run: Run, *, paper: bool = False) -> str:
    """Return the report as one HTML page with interactive charts and without external resources.

    With *paper*, return a report with the figures of the 2001 paper instead.
    """
    doc, pictures = _parts(run, paper=paper)
    return page(doc, pictures, _drawn(pictures))


def of_document(doc: Document) -> str:
    """Return *doc*, which has no charts, as an HTML page."""
    return page(doc, {}, {})


def of_comparisons(comparisons: Sequence[Comparison], names: Sequence[str]) -> str:
    """Return the comparison of the runs *names* as an HTML page."""
    pictures = report_charts.of_comparisons(comparisons)
    return page(comparison_page.document(comparisons, names), pictures, _drawn(pictures))


def of_session(results: tune.Results) -> str:
    """Return a session of `dirtune tune` as an HTML page."""
    drawn = {"fixes": report_charts.ratios(list(tune_page.ratio_rows(results)), None)}
    pictures = {name: made for name, made in drawn.items() if made is not None}
    return page(tune_page.document(results), pictures, _drawn(pictures))


def page(doc: Document, pictures: Mapping[str, Picture], drawn: Mapping[str, str]) -> str:
    """Return *doc* as an HTML page.

    *drawn* has the *pictures* as SVG, which a browser without JavaScript shows. The page allows
    only its own scripts, by their hashes, and no text of a run becomes part of a script: the
    specifications of the charts are JSON in an element that is not executed.
    """
    specs = {name: made.spec for name, made in pictures.items()}
    scripts = [_vega(), _source("report.js")] if specs else [_source("report.js")]
    return _template("report.html.j2").render(
        doc=each_text(doc, visible),
        figures=drawn,
        numbers={name: each_text(made.numbers, visible) for name, made in pictures.items()},
        specs=ascii_json(json.dumps(specs)).replace("<", "\\u003c"),
        scripts=scripts,
        hashes=[_hash(script) for script in scripts],
        most_rows=MOST_ROWS,
        most_marks=MOST_MARKS,
    )


def markdown(run: Run, figures: frozenset[str] = frozenset(), *, paper: bool = False) -> str:
    """Return the report as Markdown, with links to the charts *figures* as `NAME.svg`."""
    doc = paper_document.document(run) if paper else document(run)
    text = _template("report.md.j2").render(doc=doc, figures=figures)
    return text.rstrip() + "\n"


def files(run: Run, *, paper: bool = False) -> dict[str, str]:
    """Return the files of the report by name: `report.html`, `report.md` and the charts."""
    doc, pictures = _parts(run, paper=paper)
    drawn = _drawn(pictures)
    return {
        "report.html": page(doc, pictures, drawn),
        "report.md": markdown(run, frozenset(drawn), paper=paper),
        **{f"{name}.svg": text for name, text in drawn.items()},
    }


def _parts(run: Run, *, paper: bool) -> tuple[Document, dict[str, Picture]]:
    if paper:
        return paper_document.document(run), paper_charts.charts(run)
    return document(run), report_charts.charts(run)


def _drawn(pictures: Mapping[str, Picture]) -> dict[str, str]:
    return {name: svg(made) for name, made in pictures.items()}


@functools.cache
def _vega() -> str:
    """Return the scripts of Vega, Vega-Lite and Vega-Embed, which vl-convert contains."""
    return str(vl_convert.javascript_bundle(snippet="window.vegaEmbed = vegaEmbed;")).replace(
        "</script", "<\\/script"
    )


def _source(name: str) -> str:
    loader = jinja2.PackageLoader("dirtune.render")
    return loader.get_source(jinja2.Environment(autoescape=True), name)[0]


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dirtune.render"),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["pipe_table"] = _pipe_table
    environment.filters["escaped"] = escaped
    environment.filters["fenced"] = _fenced
    return environment.get_template(name)


def _fenced(lines: Sequence[str]) -> str:
    return "\n".join(code_block(lines, "sh"))


def _pipe_table(table: Table) -> str:
    align = ["right" if name in table.numeric else "left" for name in table.header]
    return cells.table(table.rows, table.header, "pipe", align)
