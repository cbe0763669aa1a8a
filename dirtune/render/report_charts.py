"""Draw the charts of a report with Altair, from the run's own numbers."""

from collections.abc import Iterator, Mapping, Sequence

import altair as alt

from dirtune.analyse import cost
from dirtune.analyse.run import Comparison, Forecast, Run, Trial, TrialKind
from dirtune.render import run_tables
from dirtune.render.chart_style import (
    AFTER,
    BEFORE,
    HEIGHT,
    QUIET,
    SHOWN,
    WIDTH,
    Picture,
    Row,
    colour,
    coloured,
    new_chart,
    picture,
    thinned,
)
from dirtune.render.figures import metric_name
from dirtune.render.report_handlers import handlers_of_interest
from dirtune.render.report_nodes import busy, cpu_states, per_cpu
from dirtune.render.report_summary import same_metric

DIRECT, IDEAL = "without a director", "replies = offered"
_CPU_METRIC = "cpu_us_per_connection"


def charts(run: Run) -> dict[str, Picture]:
    """Return the charts for which the run has data, by name."""
    swept = run_tables.swept(run)
    made = {
        "ratio": ratio(run.comparisons, run.forecast),
        "handlers": handlers(run),
        "pairs": pairs(run.comparisons),
        "capacity": curves(run, swept) if run_tables.enough(swept) else None,
        "latency": latency(run),
        "cpu-states": cpu_states(run),
        "busy": busy(run),
        "per-cpu": per_cpu(run),
    }
    return {name: chart for name, chart in made.items() if chart is not None}


def of_comparisons(comparisons: Sequence[Comparison]) -> dict[str, Picture]:
    """Return the charts of a comparison without a run: the ratio and the pairs."""
    paired = comparisons if all(c.pairs for c in comparisons) else ()
    made = {"ratio": ratio(comparisons), "pairs": pairs(paired)}
    return {name: chart for name, chart in made.items() if chart is not None}


def pairs(comparisons: Sequence[Comparison]) -> Picture | None:
    """Return a chart of the judged pairs: a line from before to after for each pair."""
    if not comparisons or not comparisons[0].before:
        return None
    first = comparisons[0]
    rows: list[Row] = []
    for n, (a, b) in enumerate(zip(first.before, first.after, strict=False), 1):
        change = _change(first, a, b)
        rows.append({"pair": n, "when": "before", "value": a, "series": change})
        rows.append({"pair": n, "when": "after", "value": b, "series": change})
    series = {
        name: shade
        for name, shade in (("better", AFTER), ("worse", BEFORE), ("equal", QUIET))
        if any(row["series"] == name for row in rows)
    }
    lines = (
        new_chart(rows)
        .transform_filter(SHOWN)
        .mark_line(point={"size": 70, "filled": True}, strokeWidth=2)
        .encode(
            x=alt.X(
                "when:O",
                sort=["before", "after"],
                title=None,
                axis=alt.Axis(labelAngle=0),
                scale=alt.Scale(padding=0.4),
            ),
            y=alt.Y("value:Q", title=metric_name(first.metric), scale=alt.Scale(zero=False)),
            detail="pair:N",
            color=colour(series),
            tooltip=["pair:O", "when:N", "value:Q", "series:N"],
        )
        .properties(width=WIDTH, height=HEIGHT)
    )
    return picture(lines, rows, series)


def _change(judged: Comparison, before: float, after: float) -> str:
    if before == after:
        return "equal"
    return "better" if (after > before) == (judged.better == "higher") else "worse"


def ratio(comparisons: Sequence[Comparison], forecast: Forecast | None = None) -> Picture | None:
    """Return a chart of the forecast and measured ratios, with the noise floor around 1."""
    floor = comparisons[0].noise_floor if comparisons else None
    return ratios(list(_ratio_rows(comparisons, forecast)), floor)


def ratios(rows: list[Row], floor: float | None) -> Picture | None:
    """Return a chart of the ratios in *rows*, with the noise floor around 1 if it is known."""
    if not rows:
        return None
    names = [str(row["series"]) for row in rows]
    series = {name: BEFORE if name == "forecast" else AFTER for name in names}
    x = alt.X("low:Q", title="after / before", scale=alt.Scale(zero=False, padding=20))
    y = alt.Y("series:N", title=None, sort=None, axis=alt.Axis(labelLimit=180))
    tips = ["series:N", "ratio:Q", "low:Q", "high:Q"]
    shade = colour(series, legend=False)
    base = new_chart(rows)
    layers = [
        base.mark_rule(strokeWidth=5, opacity=0.6).encode(
            x=x, x2="high:Q", y=y, color=shade, tooltip=tips
        ),
        base.mark_point(size=150, filled=True, opacity=1).encode(
            x=alt.X("ratio:Q", title="after / before"), y=y, color=shade, tooltip=tips
        ),
        new_chart([{"one": 1}])
        .mark_rule(strokeDash=[4, 3], color="currentColor")
        .encode(x="one:Q"),
    ]
    if floor is not None:
        band = new_chart([{"low": 1 - floor, "high": 1 + floor}])
        layers.insert(0, band.mark_rect(color=QUIET, opacity=0.28).encode(x="low:Q", x2="high:Q"))
    return picture(alt.layer(*layers).properties(width=WIDTH, height=alt.Step(34)), rows)


def _ratio_rows(comparisons: Sequence[Comparison], forecast: Forecast | None) -> Iterator[Row]:
    outcomes = same_metric(comparisons)
    if forecast and forecast.ratio is not None and forecast.interval:
        low, high = forecast.interval
        yield {"series": "forecast", "ratio": forecast.ratio, "low": low, "high": high}
        # A forecast is about CPU time, whatever the primary metric.
        outcomes = tuple(c for c in comparisons if c.metric == _CPU_METRIC) or outcomes
    for outcome in outcomes:
        if outcome.ratio and outcome.interval:
            low, high = outcome.interval
            what = "measured" if outcome.rate is None else f"at {outcome.rate:g}/s"
            yield {"series": what, "ratio": outcome.ratio, "low": low, "high": high}


def handlers(run: Run) -> Picture | None:
    """Return a chart of each handler's time per interrupt, with one bar per window."""
    rows = list(_handler_rows(run))
    if not rows:
        return None
    series = coloured(str(row["series"]) for row in rows)
    bars = (
        new_chart(rows)
        .transform_filter(SHOWN)
        .mark_bar(height=22)
        .encode(
            x=alt.X("us:Q", title="us of handler time per interrupt"),
            y=alt.Y("window:N", title=None, sort=None),
            color=colour(series),
            order="place:O",
            tooltip=["window:N", "series:N", "us:Q"],
        )
        .properties(width=WIDTH, height=alt.Step(34))
    )
    return picture(bars, rows, series)


def _handler_rows(run: Run) -> Iterator[Row]:
    for when, window in run.handlers.items():
        chosen = handlers_of_interest(run, window)
        # Handlers with work to do come first, so that needless handlers end the bar.
        for place, h in enumerate(sorted(chosen, key=lambda h: h.none)):
            interrupts = window.line_counts.get(str(h.irq))
            if interrupts:
                us = h.total_ns / interrupts / 1e3
                yield {"window": when, "series": h.handler, "us": us, "place": place}


def curves(run: Run, swept: Mapping[str, tuple[Trial, ...]]) -> Picture:
    """Return a chart of replies against offered connections, with a line per cell.

    Two more lines show the ideal, a reply to every connection, and the trials without a director.
    The points of invalid trials are hollow.
    """
    direct = tuple(t for t in cost.trials_of(run, "direct") if t.kind == TrialKind.JUDGED)
    lines = {**swept, DIRECT: direct} if direct else dict(swept)
    rows = [row for label, trials in lines.items() for row in _points(label, trials)]
    series = coloured(lines) | ({DIRECT: QUIET} if direct else {})
    most = max(float(str(row["offered"])) for row in rows)
    ends = [{"offered": at, "replies": at} for at in (0.0, most)]
    x = alt.X("offered:Q", title="offered connections/s")
    y = alt.Y("replies:Q", title="replies/s")
    ideal = new_chart(ends).mark_line(strokeDash=[4, 3], color=QUIET, strokeWidth=1.5)
    drawn = thinned(rows, lambda row: float(str(row["replies"])))
    base = new_chart(drawn).transform_filter(SHOWN).encode(x=x, y=y, color=colour(series))
    means = base.transform_filter("datum.valid").mark_line(strokeWidth=2)
    points = base.mark_point(size=60, strokeWidth=1.5).encode(
        fill=alt.condition("datum.valid", colour(series), alt.value("transparent")),
        tooltip=["series:N", "offered:Q", "replies:Q", "valid:N", "reason:N"],
    )
    chart = alt.layer(
        ideal.encode(x=x, y=y),
        means.encode(y=alt.Y("mean(replies):Q", title="replies/s")),
        points,
    ).properties(width=WIDTH, height=HEIGHT)
    return picture(chart, rows, series)


def _points(label: str, trials: tuple[Trial, ...]) -> Iterator[Row]:
    for trial in trials:
        yield {
            "series": label,
            "offered": trial.offered_rate,
            "replies": trial.reply_rate,
            "valid": trial.valid,
            "reason": trial.reason or "",
        }


_LATENCIES = {"p50_ms": "median", "mean_ms": "mean", "p99_ms": "99th percentile"}


def latency(run: Run) -> Picture | None:
    """Return a chart of the latencies of each valid judged trial, by arm or by cell."""
    rows: list[Row] = [
        {
            "trial": trial.id,
            "where": {"A": "before", "B": "after"}.get(trial.arm, trial.arm)
            if trial.pair is not None
            else run_tables.label(run, trial.cell),
            "series": name,
            "ms": getattr(trial.latency, key),
        }
        for trial in run.trials
        if trial.valid and trial.latency and trial.kind == TrialKind.JUDGED
        for key, name in _LATENCIES.items()
    ]
    if not rows:
        return None
    series = coloured(_LATENCIES.values())
    drawn = thinned(rows, lambda row: float(str(row["ms"])))
    points = (
        new_chart(drawn)
        .transform_filter(SHOWN)
        .mark_point(size=60, strokeWidth=1.5)
        .encode(
            x=alt.X("ms:Q", title="latency of replies, ms"),
            y=alt.Y("where:N", title=None, sort=None, axis=alt.Axis(labelLimit=180)),
            color=colour(series),
            shape=alt.Shape("series:N", sort=None, legend=None),
            tooltip=["trial:N", "where:N", "series:N", "ms:Q"],
        )
        .properties(width=WIDTH, height=alt.Step(34))
    )
    return picture(points, rows, series)
