"""Figures 6 to 14 of the 2001 paper for a run: replies against offered connections per second."""

from collections.abc import Iterator, Mapping

import altair as alt

from dirtune.analyse import cost
from dirtune.analyse.run import Run, Trial
from dirtune.render.paper_document import CURVES, enough, lines
from dirtune.render.report_charts import QUIET, WIDTH, Chart, Row, new_chart, svg

DIRECT, IDEAL = "without a director", "all that is offered"
_COLOURS = ("#2f7fb8", "#d1602b", "#3c8d53", "#7a5195", "#b23a48", "#8c6d1f", "#2a9d8f", "#c06ba8")
_HEIGHT = 320


def charts(run: Run) -> dict[str, str]:
    """Return the curves the run has trials for, by name, as SVG."""
    found = {f"figure-{curve.figure}": lines(run, curve) for curve in CURVES}
    drawn = {name: svg(_curves(run, swept)) for name, swept in found.items() if enough(swept)}
    return drawn | ({"figure-3": svg(_link(run))} if run.link else {})


def _link(run: Run) -> Chart:
    rows = [{"bytes": p.message_bytes, "rate": p.bits_per_s / 1e6} for p in run.link]
    log = alt.Scale(type="log")
    line: alt.Chart = (
        new_chart(rows)
        .mark_line(point=True, color=_COLOURS[0])
        .encode(
            x=alt.X("bytes:Q", title="message, bytes", scale=log, axis=alt.Axis(format="~s")),
            y=alt.Y("rate:Q", title="Mbit/s", scale=log, axis=alt.Axis(format="~g")),
        )
        .properties(width=WIDTH, height=_HEIGHT)
    )
    return line


def _curves(run: Run, swept: Mapping[str, tuple[Trial, ...]]) -> Chart:
    direct = tuple(t for t in cost.trials_of(run, "direct") if t.kind == "judged")
    series = {**swept, DIRECT: direct} if direct else dict(swept)
    rows = [row for label, trials in series.items() for row in _points(label, trials)]
    most = max(float(str(row["offered"])) for row in rows)
    ends = [{"offered": at, "replies": at, "line": IDEAL} for at in (0.0, most)]
    x = alt.X("offered:Q", title="offered connections/s")
    y = alt.Y("replies:Q", title="replies/s")
    ideal = new_chart(ends).mark_line(strokeDash=[4, 3], color=QUIET, strokeWidth=1.5)
    base = new_chart(rows).encode(x=x, y=y, color=_colour(series))
    means = base.transform_filter("datum.counts").mark_line(strokeWidth=2)
    points = base.mark_point(size=60, strokeWidth=1.5).encode(
        fill=alt.condition("datum.counts", _colour(series), alt.value("transparent"))
    )
    return alt.layer(
        ideal.encode(x=x, y=y),
        means.encode(y=alt.Y("mean(replies):Q", title="replies/s")),
        points,
    ).properties(width=WIDTH, height=_HEIGHT)


def _points(label: str, trials: tuple[Trial, ...]) -> Iterator[Row]:
    for trial in trials:
        counts = trial.validity == "valid"
        yield {
            "line": label,
            "offered": trial.offered_rate,
            "replies": trial.reply_rate,
            "counts": counts,
        }


def _colour(series: Mapping[str, object]) -> alt.Color:
    names = list(series)
    colours = [
        QUIET if name == DIRECT else _COLOURS[n % len(_COLOURS)] for n, name in enumerate(names)
    ]
    return alt.Color(
        "line:N",
        scale=alt.Scale(domain=names, range=colours),
        legend=alt.Legend(title=None, orient="top", labelLimit=400, columns=4, columnPadding=18),
    )
