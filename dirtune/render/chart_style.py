"""The style of the report's charts, as Vega-Lite specifications with a table of their numbers.

Text and lines take the text colour of the page (`currentColor`), so that a chart is also readable
on a dark page. The colours are those of Okabe and Ito, which colour-blind people can tell apart.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import altair as alt
import vl_convert

from dirtune.escape import visible
from dirtune.render.blocks import Table
from dirtune.render.cells import shortened
from dirtune.render.each_text import each_text
from dirtune.render.figures import NONE, number

Chart: TypeAlias = alt.Chart | alt.LayerChart | alt.FacetChart
Row: TypeAlias = Mapping[str, object]

BEFORE, AFTER, QUIET = "#d55e00", "#0f79b8", "#8a8f98"
COLOURS = (AFTER, BEFORE, "#009e73", "#b86595", "#c98a00", "#56b4e9", "#8c6d1f", "#7a5195")
WIDTH, HEIGHT = 560, 320
SHOWN = "indexof(hidden, datum.series) < 0"
"""The filter of a chart whose series can be hidden."""
MOST_MARKS = 4000
"""The most marks of one chart; a browser draws this many at once."""
_LONGEST = 120
"""Characters of a name in a chart."""
_FONT = "system-ui, -apple-system, 'Segoe UI', sans-serif"


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart as a Vega-Lite specification, and its numbers as a table."""

    spec: dict[str, Any]
    numbers: Table


def picture(chart: Chart, rows: Sequence[Row], series: Mapping[str, str] | None = None) -> Picture:
    """Return *chart* in the report's style.

    *rows* are its numbers. *series* has the colour of each series that a reader can hide; their
    marks have the field `series` and the filter `SHOWN`.
    """
    spec = each_text(_styled(chart).to_dict(), _name)
    spec["params"] = [*spec.get("params", ()), {"name": "hidden", "value": []}]
    # Vega-Lite ignores `usermeta`; the script of the page makes the buttons from it.
    spec["usermeta"] = {"series": [[_name(name), c] for name, c in (series or {}).items()]}
    return Picture(spec, _numbers(rows))


def svg(made: Picture) -> str:
    """Return the chart as SVG."""
    return str(vl_convert.vegalite_to_svg(made.spec))


def new_chart(rows: Sequence[Row]) -> alt.Chart:
    """Return a chart of *rows*, without marks."""
    return alt.Chart({"values": [{key: _finite(row[key]) for key in row} for row in rows]})


def _finite(value: object) -> object:
    """Return *value*; None if JSON has no number for it."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def coloured(names: Iterable[str]) -> dict[str, str]:
    """Return a colour for each of *names*."""
    return {name: COLOURS[n % len(COLOURS)] for n, name in enumerate(dict.fromkeys(names))}


def colour(series: Mapping[str, str], *, legend: bool = True) -> alt.Color:
    """Return the colour of the field `series`, with or without a legend."""
    shown = alt.Legend(title=None, orient="top", labelLimit=400, columns=4, columnPadding=18)
    return alt.Color(
        "series:N",
        sort=None,
        scale=alt.Scale(domain=[_name(name) for name in series], range=list(series.values())),
        legend=shown if legend else None,
    )


def thinned(rows: Sequence[Row], key: Callable[[Row], float]) -> list[Row]:
    """Return *rows*, in their order; of very many, the lowest and the highest of each stretch."""
    if len(rows) <= MOST_MARKS:
        return list(rows)
    size = -(-len(rows) // (MOST_MARKS // 2))
    kept: list[Row] = []
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        ends = {id(row) for row in (min(part, key=key), max(part, key=key))}
        kept += [row for row in part if id(row) in ends]
    return kept


def _name(text: str) -> str:
    # A control character in a name is not valid XML, and makes the converter end the process.
    return shortened(visible(text), _LONGEST)


def _numbers(rows: Sequence[Row]) -> Table:
    header = tuple(dict.fromkeys(key for row in rows for key in row))
    numeric = {key for key in header if all(not isinstance(row.get(key), str) for row in rows)}
    body = tuple(tuple(_cell(row.get(key)) for key in header) for row in rows)
    return Table(header, body, frozenset(numeric))


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value)
    return NONE if value is None else str(value)


def _styled(chart: Chart) -> Chart:
    ink = "currentColor"
    axis = {
        "labelColor": ink,
        "titleColor": ink,
        "domainColor": ink,
        "tickColor": ink,
        "gridColor": QUIET,
        "gridOpacity": 0.25,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 10,
        "labelFlush": False,
        "tickCount": 6,
        "labelOverlap": "greedy",
        "labelSeparation": 12,
    }
    styled: Chart = (
        chart.configure(
            background="transparent",
            font=_FONT,
            padding={"left": 4, "right": 14, "top": 4, "bottom": 6},
        )
        .configure_view(stroke=None)
        .configure_axis(**axis)
        .configure_legend(labelColor=ink, titleColor=ink, labelFontSize=12)
    )
    return styled
