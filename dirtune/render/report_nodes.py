"""Draw where the CPU time of a run's nodes went: by state, over time, and on each CPU."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import altair as alt

from dirtune.analyse.run import Role, Run, Trial
from dirtune.render import run_tables
from dirtune.render.chart_style import (
    AFTER,
    BEFORE,
    QUIET,
    SHOWN,
    WIDTH,
    Picture,
    Row,
    colour,
    new_chart,
    picture,
    thinned,
)
from dirtune.render.report_cpu import ARMS, sampled

_STATES = {
    "user": "#0f79b8",
    "system": "#d55e00",
    "irq": "#b86595",
    "softirq": "#c98a00",
    "steal": "#7a5195",
    "idle": "#c3c8ce",
}
_MOST_BARS = 80
_HEAT = alt.Scale(scheme="viridis", domain=[0, 100], reverse=True)


def cpu_states(run: Run) -> Picture | None:
    """Return a chart of each node's CPU time by state, in the trials that sampled the nodes."""
    rows = [row for trial in sampled(run) for row in _state_rows(run, trial)]
    bars = list(dict.fromkeys(str(row["node"]) for row in rows))[:_MOST_BARS]
    if not rows:
        return None
    used = {row["series"] for row in rows}
    series = {state: shade for state, shade in _STATES.items() if state in used}
    kept = set(bars)
    chart = (
        new_chart([row for row in rows if row["node"] in kept])
        .transform_filter(SHOWN)
        .mark_bar(height=16)
        .encode(
            x=alt.X("percent:Q", title="% of the node's CPU time"),
            y=alt.Y("node:N", title=None, sort=None, axis=alt.Axis(labelLimit=130)),
            color=colour(series),
            order="place:O",
            tooltip=["node:N", "series:N", "percent:Q", "sd:Q"],
        )
        .properties(width=WIDTH, height=alt.Step(22))
    )
    return picture(chart, rows, series)


def _state_rows(run: Run, trial: Trial) -> Iterator[Row]:
    for node in trial.nodes:
        for place, state in enumerate(_STATES):
            share = node.states.get(state)
            if share is not None:
                yield {
                    "node": f"{_where(run, trial)}: {node.node}",
                    "series": state,
                    "percent": share.mean,
                    "sd": share.sd,
                    "place": place,
                }


def _where(run: Run, trial: Trial) -> str:
    name = run_tables.label(run, trial.cell) if run.cells else ARMS.get(trial.arm, trial.arm)
    return run_tables.marked(name, trial)


def busy(run: Run) -> Picture | None:
    """Return a chart of how busy each node was in each trial, over the time of the run.

    All rows have the same time axis. The first row has the trials, with the arm as their colour,
    so that it shows when the fix was in effect.
    """
    dated = [(trial, began) for trial in run.trials if (began := _time(trial.started)) is not None]
    rows = [row for trial, began in dated for row in _busy_rows(run, trial, began)]
    if len({began for _, began in dated}) < 2 or not rows:
        return None
    drawn = thinned(rows, lambda row: float(str(row["percent"])))
    windows = [
        {
            "from": began.isoformat(),
            "to": _end(trial, began),
            "node": "trials",
            "trial": trial.id,
            "series": "after the fix" if trial.arm == "B" else "before the fix",
            "validity": trial.validity.replace("_", "-"),
        }
        for trial, began in dated
    ]
    if not any(trial.arm == "B" for trial, _ in dated):
        windows = [{**window, "series": "trial"} for window in windows]
    arms = {"before the fix": BEFORE, "after the fix": AFTER, "trial": QUIET}
    series = {a: shade for a, shade in arms.items() if any(w["series"] == a for w in windows)}
    x = alt.X("from:T", title="time (UTC)", scale=alt.Scale(type="utc"))
    order = ["trials", *dict.fromkeys(str(row["node"]) for row in rows)]
    y = alt.Y("node:N", title=None, sort=order, axis=alt.Axis(labelLimit=110))
    heat = alt.Color("percent:Q", scale=_HEAT, legend=alt.Legend(title="busy, %", orient="bottom"))
    trials = (
        new_chart(thinned(windows, lambda _: 0.0))
        .mark_rect(height=16)
        .encode(
            x=x,
            x2="to:T",
            y=y,
            color=colour(series),
            tooltip=["trial:N", "series:N", "validity:N"],
        )
    )
    cells = (
        new_chart(drawn)
        .mark_rect(height=16)
        .encode(
            x=x,
            x2="to:T",
            y=y,
            color=heat,
            tooltip=["node:N", "trial:N", "percent:Q", "validity:N"],
        )
    )
    chart = (
        alt.layer(trials, cells)
        .resolve_scale(color="independent")
        .properties(width=WIDTH, height=alt.Step(24))
    )
    return picture(chart, rows)


def _busy_rows(run: Run, trial: Trial, began: datetime) -> Iterator[Row]:
    known = {name: s["busy_percent"] for name, s in trial.signals.items() if "busy_percent" in s}
    idle = trial.metrics.get("director_idle_percent")
    if not known and idle is not None:
        known["director"] = 100 - idle
    if run.scenario is not None and "busy" in trial.host:
        known["lab's machine"] = trial.host["busy"]
    for name, percent in known.items():
        yield {
            "node": name,
            "trial": trial.id,
            "from": began.isoformat(),
            "to": _end(trial, began),
            "percent": percent,
            "validity": trial.validity.replace("_", "-"),
        }


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _end(trial: Trial, began: datetime) -> str:
    try:
        return (began + timedelta(seconds=trial.window_s)).isoformat()
    except (OverflowError, ValueError):
        return began.isoformat()


def per_cpu(run: Run) -> Picture | None:
    """Return a heat map of the director's interrupts and softirqs on each CPU."""
    rows = [*_softirq_rows(run), *_interrupt_rows(run)]
    if len({row["cpu"] for row in rows}) < 2:
        return None
    drawn = thinned(rows, lambda row: float(str(row["percent"])))
    cpus = sorted({str(row["cpu"]) for row in rows}, key=lambda name: (len(name), name))
    chart = (
        new_chart(drawn)
        .mark_rect()
        .encode(
            x=alt.X("cpu:N", title=None, sort=cpus, axis=alt.Axis(labelAngle=0)),
            y=alt.Y("what:N", title=None, sort=None, axis=alt.Axis(labelLimit=150)),
            color=alt.Color(
                "percent:Q",
                scale=alt.Scale(scheme="viridis", reverse=True),
                legend=alt.Legend(title="% of the CPU", orient="bottom"),
            ),
            tooltip=["what:N", "cpu:N", "percent:Q"],
        )
        .properties(width=WIDTH, height=alt.Step(24))
    )
    return picture(chart, rows)


def _softirq_rows(run: Run) -> Iterator[Row]:
    for trial in sampled(run):
        for node in trial.nodes:
            if node.role != Role.DIRECTOR:
                continue
            for cpu, states in node.per_cpu.items():
                for state in ("irq", "softirq"):
                    if state in states:
                        what = f"{_where(run, trial)}: {state}"
                        yield {"what": what, "cpu": cpu, "percent": states[state].mean}


def _interrupt_rows(run: Run) -> Iterator[Row]:
    for when, window in run.handlers.items():
        for calls in window.per_cpu:
            if calls.total_ns:
                yield {
                    "what": f"{when}: {calls.handler}",
                    "cpu": f"cpu{calls.cpu}",
                    "percent": calls.total_ns / window.seconds / 1e7,
                }
