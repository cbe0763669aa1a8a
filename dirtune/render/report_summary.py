"""Write the first screen of a run's report: the question, the cause and the next step.

Commands hold nothing of a run but ids of checks, whose characters no shell obeys: a run may come
from somebody else. Names that do not have this form are left out.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dirtune.analyse.run import Comparison, KneeLimit, Run, Verdict
from dirtune.analyse.verdict import interval_name
from dirtune.render import run_tables
from dirtune.render.blocks import Commands, Figure, Text
from dirtune.render.figures import in_interval, in_percent, in_ratio, metric_name
from dirtune.render.report_handlers import findings

SEVERITIES = ("critical", "high", "medium", "low", "info")
_CHECK = re.compile(r"[a-z0-9]{1,40}/[a-z0-9-]{1,80}")
_RUN = re.compile(r"[0-9]{8}-[0-9]{6}[0-9a-z-]{0,40}")
_JOURNAL = re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9]{1,9}Z")


def asked(run: Run) -> str:
    """Return the question that the run was to answer."""
    asked = _experiment(run).get("question")
    if isinstance(asked, str) and asked:
        return asked
    if run.comparisons:
        return question(run.comparisons[0])
    if any(trial.pair is not None for trial in run.trials):
        return f"Does the change affect {metric_name(run.primary_metric)}?"
    return "How many connections/s does the director balance, and what limits it?"


def question(comparison: Comparison) -> str:
    """Return the question that *comparison* answers."""
    at = "" if comparison.rate is None else f" at {comparison.rate:g} connections/s"
    return f"Does the change affect {metric_name(comparison.metric)}{at}?"


def same_metric(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Return the comparisons of the primary metric, one for each rate."""
    first = next(iter(comparisons), None)
    return tuple(c for c in comparisons if first is not None and c.metric == first.metric)


def picture(comparisons: Sequence[Comparison]) -> Figure | None:
    """Return the verdict as a picture; None without a ratio."""
    first = next(iter(comparisons), None)
    if first is None or first.ratio is None or first.interval is None:
        return None
    floor = (
        "No noise floor was measured."
        if first.noise_floor is None
        else f"The shaded band is the noise floor, {in_percent(first.noise_floor)} around 1."
    )
    return Figure(
        "ratio",
        f"{metric_name(first.metric)}, after divided by before: {in_ratio(first.ratio)}, with the"
        f" {interval_name(first)} {in_interval(first.interval)}. The dashed line at 1 means no"
        f" change; {first.better} is better. {floor}",
    )


def problems(run: Run) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the findings before the fix with their checks, the most severe first."""
    return sorted(
        findings(run.audits.get("before", {})),
        key=lambda pair: SEVERITIES.index(pair[1].get("severity", "info")),
    )


def cause(run: Run) -> str:
    """Return the cause of the problem as one sentence; empty if the run has no finding."""
    found = problems(run)
    tried = _experiment(run).get("check")
    chosen = next((f for check, f in found if check == tried), None)
    if chosen is None:
        chosen = next((f for _, f in found), None)
    return "" if chosen is None else _sentence(chosen["message"])


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def to_do(run: Run) -> Iterator[Text | Commands]:
    """Yield the next step, and the command for it."""
    if run.finished is None:
        yield Text("Continue the run: it is not finished, so it has no verdict.")
        name = run.id if _RUN.fullmatch(run.id) else "RUN"
        compares = any(trial.pair is not None for trial in run.trials)
        again = ("bench", "run", "--resume", f"dirtune-runs/{name}")
        yield _type("tune", "--resume") if compares else _type(*again)
    elif run.comparisons:
        yield from _after_a_comparison(run, run.comparisons[0])
    else:
        yield from _after_a_sweep(run)


def _after_a_comparison(run: Run, first: Comparison) -> Iterator[Text | Commands]:
    check = _check(run)
    journal = run.journal if run.journal and _JOURNAL.fullmatch(run.journal) else None
    if first.verdict == Verdict.IMPROVED and journal:
        yield Text("The fix is in effect on the director. To undo it, type there:")
        yield _type("rollback", journal)
    elif first.verdict == Verdict.IMPROVED and check:
        yield Text(
            "Apply the fix on the director. dirtune undoes it after 120 s unless you run"
            " dirtune confirm."
        )
        yield _type("fix", "apply", check, "--confirm", "120")
    elif first.verdict == Verdict.REGRESSED:
        yield Text("Do not apply the change. Look for what limits the director instead:")
        yield _type("audit", "--probe")
    elif first.verdict == Verdict.INCONCLUSIVE:
        reason = f" {_sentence(first.reason.capitalize())}" if first.reason else ""
        yield Text(f"Measure more pairs before you decide.{reason}")
        yield _type("tune", *(("--check", check) if check else ()), "--pairs", "16")
    elif first.verdict == Verdict.EQUIVALENT:
        yield Text("The change has no effect that matters. Look for what limits the director:")
        yield _type("audit", "--probe")


def _after_a_sweep(run: Run) -> Iterator[Text | Commands]:
    knee = next((k for k in run.knees if k.rate is not None), None)
    if knee is not None and knee.limit == KneeLimit.CLIENTS:
        yield Text("Add clients to the plan: the clients limited the rate, not the director.")
        yield _type("bench", "check")
    elif run_tables.swept(run):
        yield Text("On the director, under load, look for what limits it and for its fix:")
        yield _type("audit", "--probe")


def _type(*words: str) -> Commands:
    return Commands((shlex.join(("dirtune", *words)),))


def _experiment(run: Run) -> Mapping[str, object]:
    found = (run.scenario or {}).get("experiment")
    return found if isinstance(found, Mapping) else {}


def _check(run: Run) -> str | None:
    names = [_experiment(run).get("check"), *(check for check, _ in problems(run))]
    return next((name for name in names if isinstance(name, str) and _CHECK.fullmatch(name)), None)
