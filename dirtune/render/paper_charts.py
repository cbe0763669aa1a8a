"""Draw charts of a run like Figures 3 and 6 to 14 of the 2001 paper."""

import altair as alt

from dirtune.analyse.run import Run
from dirtune.render.chart_style import AFTER, HEIGHT, WIDTH, Picture, new_chart, picture
from dirtune.render.paper_document import CURVES, lines
from dirtune.render.report_charts import curves
from dirtune.render.run_tables import enough


def charts(run: Run) -> dict[str, Picture]:
    """Return the charts for which the run has data, by name."""
    found = {f"figure-{curve.figure}": lines(run, curve) for curve in CURVES}
    drawn = {name: curves(run, swept) for name, swept in found.items() if enough(swept)}
    return drawn | ({"figure-3": _link(run)} if run.link else {})


def _link(run: Run) -> Picture:
    rows = [{"bytes": p.message_bytes, "rate": p.bits_per_s / 1e6} for p in run.link]
    log = alt.Scale(type="log")
    line = (
        new_chart(rows)
        .mark_line(point=True, color=AFTER)
        .encode(
            x=alt.X("bytes:Q", title="message size, bytes", scale=log, axis=alt.Axis(format="~s")),
            y=alt.Y("rate:Q", title="Mbit/s", scale=log, axis=alt.Axis(format="~g")),
            tooltip=["bytes:Q", "rate:Q"],
        )
        .properties(width=WIDTH, height=HEIGHT)
    )
    return picture(line, rows)
