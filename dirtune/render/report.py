"""The report of a run: one HTML file that opens anywhere, or Markdown with charts beside it."""

import jinja2
from tabulate import tabulate

from dirtune.analyse.run import Run
from dirtune.render.document import Table
from dirtune.render.report_charts import charts
from dirtune.render.report_document import document


def html(run: Run) -> str:
    """Return the report as one HTML page without outside resources, charts inlined."""
    return _template("report.html.j2").render(doc=document(run), figures=charts(run))


def markdown(run: Run, figures: frozenset[str] = frozenset()) -> str:
    """Return the report as Markdown; *figures* lie beside it as `NAME.svg`."""
    text = _template("report.md.j2").render(doc=document(run), figures=figures)
    return text.rstrip() + "\n"


def files(run: Run) -> dict[str, str]:
    """Return the report's files by name: `report.html`, `report.md` and its charts."""
    drawn = charts(run)
    return {
        "report.html": html(run),
        "report.md": markdown(run, frozenset(drawn)),
        **{f"{name}.svg": svg for name, svg in drawn.items()},
    }


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dirtune.render"),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["pipe_table"] = _pipe_table
    return environment.get_template(name)


def _pipe_table(table: Table) -> str:
    align = ["right" if name in table.numeric else "left" for name in table.header]
    rows = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in table.rows]
    return tabulate(rows, table.header, "pipe", colalign=align, disable_numparse=True)
