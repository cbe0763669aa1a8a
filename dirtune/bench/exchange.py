"""Convert runs to pyperf files and back.

Each trial becomes one run of pyperf. For pyperf, lower values are better, so a rate is stored as
its inverse, in seconds per connection. dirtune uses pyperf only as a file format, because pyperf
treats all values as independent and prints no confidence interval.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from dirtune.analyse.run import Run, Trial, TrialKind, Validity
from dirtune.errors import NotPossible, ParseError
from dirtune.extras import lacking
from dirtune.formats import from_json

_TO_SECONDS: dict[str, Callable[[float], float]] = {
    "reply_rate": lambda value: 1 / value,
    "cpu_us_per_connection": lambda value: value / 1e6,
}
_FROM_SECONDS: dict[str, Callable[[float], float]] = {
    "reply_rate": lambda value: 1 / value,
    "cpu_us_per_connection": lambda value: value * 1e6,
}
# Exceptions that pyperf, or the conversion of its values, raises for a malformed file.
_BROKEN = (
    *(ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError),
    msgspec.ValidationError,
)
_NAMES = {
    "reply_rate": "time per connection",
    "cpu_us_per_connection": "director CPU time per connection",
}


def to_pyperf(trials: Sequence[Trial]) -> str:
    """Return the valid judged trials as the text of a pyperf file.

    Raises `NotPossible` if there are no such trials.
    """
    pyperf = _pyperf()
    runs: dict[str, list[Any]] = {}
    for trial in trials:
        if trial.kind == TrialKind.JUDGED and trial.valid:
            for name, run in _runs(trial):
                runs.setdefault(name, []).append(run)
    if not runs:
        raise NotPossible(
            "The run has no valid trial that counts for a verdict, so there is nothing to export."
        )
    suite = pyperf.BenchmarkSuite([pyperf.Benchmark(runs_of_one) for runs_of_one in runs.values()])
    text = io.StringIO()
    suite.dump(text, compact=False)
    return text.getvalue()


def _runs(trial: Trial) -> Iterator[tuple[str, Any]]:
    pyperf = _pyperf()
    for metric, convert in _TO_SECONDS.items():
        value = trial.metrics.get(metric, 0.0)
        if value > 0:
            where = f"{trial.cell}, " if trial.cell else ""
            name = f"{_NAMES[metric]} ({where}{trial.offered_rate:g}/s offered)"
            about = {
                "name": name,
                "unit": "second",
                "duration": float(trial.window_s),
                "dirtune_metric": metric,
                "dirtune_trial": trial.id,
                "dirtune_cell": trial.cell or "-",
                "dirtune_offered_rate": float(trial.offered_rate),
            }
            yield name, pyperf.Run([convert(value)], metadata=about, collect_metadata=False)


def is_pyperf(text: bytes) -> bool:
    """Return whether *text* is a pyperf file: JSON with a list of benchmarks."""
    try:
        return "benchmarks" in from_json(text, dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        return False


def from_pyperf(path: Path, text: bytes) -> Run:
    """Convert *text*, the text of a pyperf file, to a dirtune run.

    Raises `ParseError` if pyperf cannot read the file. Each pyperf run becomes one trial, whose
    value is the mean of the pyperf run, because the values of one process are not independent. If
    another program wrote the file, its values count as seconds per connection.
    """
    pyperf = _pyperf()
    try:
        suite = pyperf.BenchmarkSuite.loads(text.decode())
        return _run(path, _trials(path, suite))
    except _BROKEN as error:
        raise ParseError(str(path), f"pyperf cannot read the file: {error}") from error


def _trials(path: Path, suite: Any) -> tuple[Trial, ...]:  # noqa: ANN401  (pyperf has no types)
    trials: dict[str, Trial] = {}
    for benchmark in suite.get_benchmarks():
        if benchmark.get_unit() != "second":
            raise ParseError(
                str(path),
                f"{benchmark.get_name()} is not in seconds, the only unit that can be compared",
            )
        for number, run in enumerate(benchmark.get_runs(), 1):
            if run.values:
                trial = _trial(benchmark.get_name(), number, run)
                known = trials.get(trial.id)
                both = trial.metrics if known is None else known.metrics | trial.metrics
                trials[trial.id] = msgspec.structs.replace(trial, metrics=both)
    return tuple(trials.values())


def _trial(name: str, number: int, run: Any) -> Trial:  # noqa: ANN401  (pyperf has no types)
    about = run.get_metadata()
    metric = about.get("dirtune_metric", "reply_rate")
    cell = about.get("dirtune_cell", name)
    mean = sum(run.values) / len(run.values)
    value = _FROM_SECONDS[metric](mean)
    trial = Trial(
        id=about.get("dirtune_trial", f"{name}#{number}"),
        arm="A",
        kind=TrialKind.JUDGED,
        pair=None,
        started="",
        offered_rate=about.get("dirtune_offered_rate", 0.0),
        window_s=about.get("duration", 0.0),
        intended=0,
        attempted=0,
        replied=0,
        failed={},
        reply_rate=value if metric == "reply_rate" else 0.0,
        latency=None,
        validity=Validity.VALID,
        reason=None,
        metrics={metric: value},
        counters={},
        settle_s=0.0,
        settled=True,
        cell="" if cell == "-" else cell,
    )
    # In a file of another program, a value may have any type.
    return msgspec.convert(msgspec.to_builtins(trial), Trial)


def _run(path: Path, trials: tuple[Trial, ...]) -> Run:
    return Run(
        id=path.stem,
        started="",
        finished="",
        command="",
        version="",
        title=path.name,
        plan_document={},
        scenario=None,
        inventory={},
        primary_metric="reply_rate",
        audits={},
        handlers={},
        trials=trials,
        forecast=None,
        comparisons=(),
        steps=(),
        verdict=None,
        notes=("The run was imported from a pyperf file.",),
    )


def _pyperf() -> Any:  # noqa: ANN401
    try:
        import pyperf  # noqa: PLC0415  (pyperf is an extra, and only these two functions need it)
    except ModuleNotFoundError as error:
        raise NotPossible(lacking("pyperf")) from error
    return pyperf
