"""Render the trials that a run would do, or its judged trials: rates, replies, loss, cost."""

from collections import Counter
from typing import TYPE_CHECKING

from dirtune.analyse.run import Run, Trial, TrialKind
from dirtune.analyse.words import counted
from dirtune.render import cells, run_tables
from dirtune.render.figures import in_percent

if TYPE_CHECKING:
    from dirtune.bench.tour import Itinerary

_SHOWN = frozenset({TrialKind.JUDGED, TrialKind.PEAK})


def table(run: Run) -> str:
    """Return the trials for a terminal."""
    return _document(run, "simple")


def markdown(run: Run) -> str:
    """Return the trials as Markdown."""
    return _document(run, "github")


def itinerary(planned: "Itinerary") -> str:
    """Return the trials that a run would do, and an estimate of their time in minutes."""
    lines = [f"{trial.id}  {trial.offered_rate:g}/s" for trial in planned.trials]
    lines += [f"{name}  a search for the knee" for name in planned.searches]
    lines += [f"not measured: {reason}" for reason in planned.refused]
    boots = f", {planned.boots} boots" if planned.boots else ""
    total = f"{len(planned.trials)} trials, {len(planned.searches)} searches{boots}"
    return "\n".join([*lines, f"{total}: about {planned.estimate_s / 60:.0f} min"])


def _document(run: Run, style: str) -> str:
    heads = ("trial", "offered/s", "replies/s", "lost", "us CPU/conn", "idle %", "p99 ms", "")
    align = ("left", *("right",) * 6, "left")
    trials = [trial for trial in run.trials if trial.kind in _SHOWN]
    body = cells.table([_row(trial) for trial in trials], heads, style, align)
    tables = run_tables.text(run, style)
    return "\n\n".join(part for part in (body, _counted(run), tables) if part) + "\n"


def _row(trial: Trial) -> tuple[str, ...]:
    if not trial.attempted:
        return (trial.id, f"{trial.offered_rate:g}", "", "", "", "", "", _label(trial))
    return (
        trial.id,
        f"{trial.offered_rate:g}",
        f"{trial.reply_rate:.1f}",
        in_percent((trial.attempted - trial.replied) / trial.attempted, 3),
        _metric(trial, "cpu_us_per_connection", ".0f"),
        _metric(trial, "director_idle_percent", ".1f"),
        _metric(trial, "latency_p99_ms", ".2f"),
        _label(trial),
    )


def _metric(trial: Trial, name: str, form: str) -> str:
    return format(trial.metrics[name], form) if name in trial.metrics else ""


def _label(trial: Trial) -> str:
    return "" if trial.valid else f"{trial.validity}: {trial.reason}"


def _counted(run: Run) -> str:
    """Return how many of the shown trials are valid, and which kinds of trials are not shown."""
    shown = [trial for trial in run.trials if trial.kind in _SHOWN]
    valid = sum(trial.valid for trial in shown)
    counts = f"{valid} of {counted(len(shown), 'trial')} {'is' if valid == 1 else 'are'} valid"
    text = f"{counts}; invalid trials are left out of all statistics."
    others = Counter(trial.kind for trial in run.trials if trial.kind not in _SHOWN)
    if others:
        kinds = ", ".join(f"{number} {kind}" for kind, number in others.items())
        text += f" Trials not shown: {kinds}."
    return text
