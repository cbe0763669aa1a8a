"""A run's judged trials as a table: what was offered, what came back, what it cost."""

from dirtune.analyse.run import Run, Trial, TrialKind
from dirtune.render import cells, run_tables


def table(run: Run) -> str:
    """Return the trials for a terminal."""
    return _document(run, "simple")


def markdown(run: Run) -> str:
    """Return the trials as Markdown."""
    return _document(run, "github")


def _document(run: Run, style: str) -> str:
    heads = ("trial", "offered/s", "replies/s", "lost", "us CPU/conn", "idle %", "p99 ms", "")
    align = ("left", *("right",) * 6, "left")
    trials = [trial for trial in run.trials if trial.kind in {TrialKind.JUDGED, TrialKind.PEAK}]
    body = cells.table([_row(trial) for trial in trials], heads, style, align)
    found = run_tables.text(run, style)
    return "\n\n".join(part for part in (body, _counted(list(run.trials)), found) if part) + "\n"


def _row(trial: Trial) -> tuple[str, ...]:
    if not trial.attempted:
        return (trial.id, f"{trial.offered_rate:g}", "", "", "", "", "", _label(trial))
    return (
        trial.id,
        f"{trial.offered_rate:g}",
        f"{trial.reply_rate:.1f}",
        f"{(trial.attempted - trial.replied) / trial.attempted:.3%}",
        _metric(trial, "cpu_us_per_connection", ".0f"),
        _metric(trial, "director_idle_percent", ".1f"),
        _metric(trial, "latency_p99_ms", ".2f"),
        _label(trial),
    )


def _metric(trial: Trial, name: str, form: str) -> str:
    return format(trial.metrics[name], form) if name in trial.metrics else ""


def _label(trial: Trial) -> str:
    return "" if trial.valid else f"{trial.validity}: {trial.reason}"


def _counted(trials: list[Trial]) -> str:
    valid = sum(trial.valid for trial in trials)
    return f"{valid} of {len(trials)} trials are valid; the others enter no statistics."
