"""Draw the charts of a report with Altair, from the run's own numbers.

Text and lines take the text colour of the page (`currentColor`), so that an inline SVG is also
readable on a dark page.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import altair as alt
import vl_convert

from dirtune.analyse import cost
from dirtune.analyse.run import Run, Trial, TrialKind
from dirtune.escape import visible
from dirtune.render import run_tables
from dirtune.render.each_text import each_text
from dirtune.render.figures import metric_name
from dirtune.render.report_handlers import handlers_of_interest

Chart: TypeAlias = alt.Chart | alt.LayerChart | alt.FacetChart
Row: TypeAlias = Mapping[str, object]

BEFORE, AFTER, QUIET = "#d1602b", "#2f7fb8", "#8a8f98"
WIDTH = 560
DIRECT, IDEAL = "without a director", "replies = offered"
_COLOURS = ("#2f7fb8", "#d1602b", "#3c8d53", "#7a5195", "#b23a48", "#8c6d1f", "#2a9d8f", "#c06ba8")
HEIGHT = 320
_FONT = "system-ui, -apple-system, 'Segoe UI', sans-serif"


def charts(run: Run) -> dict[str, str]:
    """Return the charts for which the run has data, as SVG, by name."""
    swept = run_tables.swept(run)
    made = {
        "pairs": pairs(run),
        "ratio": ratio(run),
        "handlers": handlers(run),
        "capacity": curves(run, swept) if run_tables.enough(swept) else None,
    }
    return {name: svg(chart) for name, chart in made.items() if chart is not None}


def pairs(run: Run) -> Chart | None:
    """Return a chart of the judged pairs, with a line from before to after in each pair."""
    if not run.comparisons or not run.comparisons[0].before:
        return None
    first = run.comparisons[0]
    both = list(zip(first.before, first.after, strict=False))
    spans = [{"pair": i, "a": a, "b": b} for i, (a, b) in enumerate(both, 1)]
    dots = [
        {"pair": i, "arm": arm, "value": value}
        for i, (a, b) in enumerate(both, 1)
        for arm, value in (("before", a), ("after", b))
    ]
    title = metric_name(first.metric)
    x = alt.X("value:Q", title=title, scale=alt.Scale(zero=False, nice=True))
    y = alt.Y("pair:O", title="pair")
    lines = (
        new_chart(spans)
        .mark_rule(strokeWidth=2, color=QUIET, opacity=0.6)
        .encode(x=alt.X("a:Q", title=title), x2="b:Q", y=y)
    )
    points = new_chart(dots).mark_circle(size=110, opacity=1).encode(x=x, y=y, color=_arm_colour())
    return alt.layer(lines, points).properties(width=WIDTH, height=alt.Step(24))


def ratio(run: Run) -> Chart | None:
    """Return a chart of the forecast and measured ratios, with the noise floor around 1."""
    rows = list(_ratio_rows(run))
    if not rows:
        return None
    x = alt.X("ratio:Q", title="after / before", scale=alt.Scale(zero=False, padding=20))
    y = alt.Y("what:N", title=None, sort=None)
    base = new_chart(rows)
    colour = alt.Color("what:N", scale=_scale(rows), legend=None)
    layers = [
        base.mark_rule(strokeWidth=4, opacity=0.55).encode(
            x=alt.X("low:Q", title="after / before"), x2="high:Q", y=y, color=colour
        ),
        base.mark_point(size=120, filled=True, opacity=1).encode(x=x, y=y, color=colour),
        new_chart([{"one": 1}])
        .mark_rule(strokeDash=[4, 3], color="currentColor")
        .encode(x="one:Q"),
    ]
    floor = run.comparisons[0].noise_floor if run.comparisons else None
    if floor is not None:
        band = new_chart([{"low": 1 - floor, "high": 1 + floor}])
        layers.insert(0, band.mark_rect(color=QUIET, opacity=0.18).encode(x="low:Q", x2="high:Q"))
    return alt.layer(*layers).properties(width=WIDTH, height=alt.Step(34))


def handlers(run: Run) -> Chart | None:
    """Return a chart of each handler's time per interrupt, with one bar per window."""
    rows = list(_handler_rows(run))
    if not rows:
        return None
    bars: alt.Chart = (
        new_chart(rows)
        .mark_bar(height=22)
        .encode(
            x=alt.X("us:Q", title="us of handler time per interrupt"),
            y=alt.Y("window:N", title=None, sort=None),
            color=alt.Color(
                "handler:N",
                sort=None,
                scale=alt.Scale(range=[AFTER, BEFORE, "#e39a4a", "#b23a48", "#7a5195", QUIET]),
                legend=alt.Legend(title=None, orient="top"),
            ),
            order="place:O",
        )
        .properties(width=WIDTH, height=alt.Step(34))
    )
    return bars


def curves(run: Run, swept: Mapping[str, tuple[Trial, ...]]) -> Chart:
    """Return a chart of replies against offered connections, with a line per cell.

    Two more lines show the ideal, a reply to every connection, and the trials without a director.
    """
    direct = tuple(t for t in cost.trials_of(run, "direct") if t.kind == TrialKind.JUDGED)
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
    ).properties(width=WIDTH, height=HEIGHT)


def _points(label: str, trials: tuple[Trial, ...]) -> Iterator[Row]:
    for trial in trials:
        counts = trial.valid
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


def _ratio_rows(run: Run) -> Iterator[Row]:
    if run.forecast and run.forecast.ratio is not None and run.forecast.interval:
        low, high = run.forecast.interval
        yield {"what": "forecast", "ratio": run.forecast.ratio, "low": low, "high": high}
    for outcome in run.comparisons:
        if outcome.metric == "cpu_us_per_connection" and outcome.ratio and outcome.interval:
            low, high = outcome.interval
            what = "measured" if outcome.rate is None else f"at {outcome.rate:g}/s"
            yield {"what": what, "ratio": outcome.ratio, "low": low, "high": high}


def _handler_rows(run: Run) -> Iterator[Row]:
    for when, window in run.handlers.items():
        chosen = handlers_of_interest(run, window)
        # Handlers with work to do come first, so that needless handlers end the bar.
        for place, h in enumerate(sorted(chosen, key=lambda h: h.none)):
            interrupts = window.line_counts.get(str(h.irq))
            if interrupts:
                us = h.total_ns / interrupts / 1e3
                yield {"window": when, "handler": h.handler, "us": us, "place": place}


def new_chart(rows: Sequence[Row]) -> alt.Chart:
    """Return a chart of *rows*, without marks."""
    return alt.Chart({"values": list(rows)})


def _scale(rows: Sequence[Row]) -> alt.Scale:
    names = [str(row["what"]) for row in rows]
    colours = [BEFORE if name == "forecast" else AFTER for name in names]
    return alt.Scale(domain=names, range=colours)


def _arm_colour() -> alt.Color:
    return alt.Color(
        "arm:N",
        scale=alt.Scale(domain=["before", "after"], range=[BEFORE, AFTER]),
        legend=alt.Legend(title=None, orient="top"),
    )


def svg(chart: Chart) -> str:
    """Return *chart* in the report's style, as SVG."""
    ink = "currentColor"
    styled = (
        chart.configure(
            background="transparent",
            font=_FONT,
            padding={"left": 14, "right": 14, "top": 4, "bottom": 6},
        )
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=ink,
            titleColor=ink,
            domainColor=ink,
            tickColor=ink,
            gridColor=QUIET,
            gridOpacity=0.25,
            labelFontSize=12,
            titleFontSize=12,
            titleFontWeight="normal",
            titlePadding=10,
            labelFlush=False,
            tickCount=8,
            labelOverlap="greedy",
            labelSeparation=12,
        )
        .configure_legend(labelColor=ink, titleColor=ink, labelFontSize=12)
    )
    # A control character in a name is not valid XML, and makes the converter end the process.
    return str(vl_convert.vegalite_to_svg(each_text(styled.to_dict(), visible)))
