"""Render the report of a run: one self-contained HTML file, or Markdown and chart files."""

import jinja2

from dirtune.analyse.run import Run
from dirtune.escape import visible
from dirtune.render import cells, paper_charts, paper_document
from dirtune.render.blocks import Document, Table
from dirtune.render.each_text import each_text
from dirtune.render.markdown import code_block, escaped
from dirtune.render.report_charts import charts
from dirtune.render.report_document import document


def html(run: Run, *, paper: bool = False) -> str:
    """Return the report as one HTML page with inline charts and without external resources.

    With *paper*, return a report with the figures of the 2001 paper instead.
    """
    doc, figures = _parts(run, paper=paper)
    clean = each_text(doc, visible)
    return _template("report.html.j2").render(doc=clean, figures=figures)


def markdown(run: Run, figures: frozenset[str] = frozenset(), *, paper: bool = False) -> str:
    """Return the report as Markdown, with links to the charts *figures* as `NAME.svg`."""
    doc = paper_document.document(run) if paper else document(run)
    text = _template("report.md.j2").render(doc=doc, figures=figures)
    return text.rstrip() + "\n"


def files(run: Run, *, paper: bool = False) -> dict[str, str]:
    """Return the files of the report by name: `report.html`, `report.md` and the charts."""
    _, drawn = _parts(run, paper=paper)
    return {
        "report.html": html(run, paper=paper),
        "report.md": markdown(run, frozenset(drawn), paper=paper),
        **{f"{name}.svg": svg for name, svg in drawn.items()},
    }


def _parts(run: Run, *, paper: bool) -> tuple[Document, dict[str, str]]:
    if paper:
        return paper_document.document(run), paper_charts.charts(run)
    return document(run), charts(run)


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
    environment.filters["fenced"] = lambda block: "\n".join(code_block(block.lines, "sh"))
    return environment.get_template(name)


def _pipe_table(table: Table) -> str:
    align = ["right" if name in table.numeric else "left" for name in table.header]
    return cells.table(table.rows, table.header, "pipe", align)
