"""Make the report of a run as a document: scenario, finding, forecast, comparison, steps.

All content comes from the run. A missing figure is marked as missing, and a section without
content is left out.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from dirtune.analyse.run import Comparison, Forecast, Run, Trial, TrialKind
from dirtune.analyse.verdict import interval_name
from dirtune.render import report_summary, run_tables
from dirtune.render.blocks import (
    Block,
    Commands,
    Document,
    Entry,
    Figure,
    Section,
    Table,
    Text,
)
from dirtune.render.figures import (
    NONE,
    in_interval,
    in_percent,
    in_ratio,
    mean,
    metric_name,
    number,
)
from dirtune.render.report_cpu import ARMS, nodes
from dirtune.render.report_handlers import findings, handler_cost

_CPU_METRIC = "cpu_us_per_connection"
_PARTS_OF_AN_ID = (
    "pair, place in the pair and arm: p02-1-A is the first trial of pair 2, before "
    "the change (arm A)"
)
_EMPTY: tuple[object, ...] = ("", None, [], {})


def document(run: Run) -> Document:
    """Return the report of *run*."""
    first = run.comparisons[0] if run.comparisons else None
    cpus = Figure("per-cpu", "Interrupts and softirqs of the director on each CPU.")
    over_time = Figure("busy", "CPU time of each node in each trial, and the arm of the trial.")
    sections = (
        Section("Finding", tuple(_finding(run))),
        Section("Handler cost", tuple(handler_cost(run))),
        Section("Comparison", tuple(comparison(run.comparisons, run.verdict or ""))),
        Section("Forecast and outcome", tuple(_forecast(run))),
        *run_tables.sections(run),
        Section("CPU per node", tuple(nodes(run))),
        Section("CPU over time", (over_time,)),
        Section("Interrupts per CPU", (cpus,)),
        Section("Latency", (Figure("latency", "Latency of the replies of each valid trial."),)),
        Section("Losses", tuple(_losses(run))),
        Section("Trials", tuple(_trials(run))),
        Section("Counters", tuple(_counters(run))),
        Section("Plan" if run.scenario is None else "Scenario", tuple(_scenario(run))),
        Section("Inventory", tuple(_inventory(run))),
        Section("Steps", tuple(_steps(run))),
        Section("Notes", tuple(Text(note) for note in run.notes)),
    )
    verdict, dot, remark = (run.verdict or _headline(run)).partition(". ")
    return Document(
        title=run.title,
        verdict=f"{verdict}{dot.strip()}",
        tone=first.verdict if first else "",
        facts=tuple(facts(first, run.forecast)),
        byline=_byline(run),
        sections=tuple(section for section in sections if section.blocks),
        remark=remark,
        asked=report_summary.asked(run),
        picture=report_summary.picture(run.comparisons),
        cause=report_summary.cause(run),
        to_do=tuple(report_summary.to_do(run)),
    )


def _headline(run: Run) -> str:
    if run.finished is None:
        return "The run was not finished, so there is no verdict."
    return run_tables.headline(run) or "No trial of the run is valid."


def _byline(run: Run) -> str:
    return f"{run.started} · run {run.id} · dirtune {run.version} · {run.command}"


def facts(first: Comparison | None, forecast: Forecast | None) -> Iterator[tuple[str, str]]:
    """Yield the main figures of a comparison and of its forecast."""
    if first:
        yield f"{metric_name(first.metric)}, after / before", in_ratio(first.ratio)
        yield interval_name(first), in_interval(first.interval)
        yield "p", number(first.p, 2)
        yield "pairs", str(first.pairs)
        if first.noise_floor is not None:
            yield "noise floor", in_percent(first.noise_floor)
    if forecast:
        yield "forecast", in_ratio(forecast.ratio)


def _scenario(run: Run) -> Iterator[Block]:
    if run.scenario is None:
        yield Text(
            "This run did not use a lab scenario. The machines, the load and the metric come"
            " from the plan."
        )
        yield _named(_flat(run.plan_document))
        return
    yield Text(
        "The scenario was fixed before the run. The primary metric is"
        f" {metric_name(run.primary_metric)}."
    )
    yield _named(_flat(run.scenario))


def _finding(run: Run) -> Iterator[Block]:
    problems = report_summary.problems(run)
    for check, f in problems:
        caused = f" Its cause is {f['cause']}." if f.get("cause") else ""
        fixes = ((f"{x['title']} ({x['risk']})", tuple(x["commands"])) for x in f.get("fixes", ()))
        yield Entry(
            f["severity"],
            f"{check}: {f['subject']}",
            f"{f['message']}{'' if f['message'].endswith('.') else '.'}{caused}",
            tuple(fixes),
        )
    if problems and "after" in run.audits:
        yield Text(_after_the_fix(run, {(check, f["subject"]) for check, f in problems}))


def _after_the_fix(run: Run, before: set[tuple[str, str]]) -> str:
    after = {(check, f["subject"]) for check, f in findings(run.audits["after"])}
    gone = ", ".join(f"{c} ({s})" for c, s in sorted(before - after))
    left = ", ".join(f"{c} ({s})" for c, s in sorted(after))
    mended = f"no longer reports {gone}" if gone else "reports every finding again"
    rest = f"it reports {left}" if left else "no finding is left"
    return f"After the fix, the audit {mended}; {rest}."


def _forecast(run: Run) -> Iterator[Block]:
    outcome = next((c for c in run.comparisons if c.metric == _CPU_METRIC), None)
    if run.forecast is None:
        return
    rows = [("forecast", in_ratio(run.forecast.ratio), in_interval(run.forecast.interval))]
    if outcome:
        rows.append(("measured", in_ratio(outcome.ratio), in_interval(outcome.interval)))
    yield Table(("CPU per connection", "ratio", "interval"), tuple(rows), frozenset({"ratio"}))
    yield Text(f"The forecast rests on the probe alone: {run.forecast.basis}.")
    for trial in run.trials:
        if trial.kind in _FORECAST_FROM and trial.arm == "A" and not trial.valid:
            validity = trial.validity.replace("_", "-")
            yield Text(
                f"The forecast uses a {trial.kind} trial that is not valid ({validity}):"
                f" {trial.reason}."
            )
    if outcome and outcome.interval and run.forecast.interval:
        yield Text(_agreement(run.forecast.interval, outcome.interval))


_FORECAST_FROM = frozenset({TrialKind.BASELINE, TrialKind.PROFILED})


def _agreement(forecast: tuple[float, float], measured: tuple[float, float]) -> str:
    if forecast[1] < measured[0]:
        return "The measured interval is above the forecast's: the gain was smaller than forecast."
    if forecast[0] > measured[1]:
        return "The measured interval is below the forecast's: the gain was larger than forecast."
    if measured[0] <= 1 <= measured[1]:
        return (
            "The intervals overlap, but the measured interval also contains 1, which means no"
            " change."
        )
    return "The intervals overlap: forecast and outcome agree."


def comparison(comparisons: Sequence[Comparison], verdict: str) -> Iterator[Block]:
    """Yield the numbers of *comparisons*, and how they were made unless the *verdict* says it."""
    if not comparisons:
        return
    yield Figure(
        "pairs",
        "Judged trials in pairs: one trial before the change and one after it.",
    )
    header = ("", *map(measured, comparisons))
    interval = interval_name(comparisons[0])
    columns = [_comparison_cells(c, interval) for c in comparisons]
    rows = tuple((name, *(cells[name] for cells in columns)) for name in columns[0])
    yield Table(header, rows, frozenset(header[1:]))
    test = comparisons[0].test
    yield Text(
        "The ratio is the value after the change divided by the value before it, as the geometric"
        " mean over the pairs; p is from"
        f" the {test} test. The noise floor is how far the 95 % interval reaches from 1 for"
        f" {_FLOOR_OF[comparisons[0].own_floor]}. The detectable effect is the smallest change"
        " that this number of pairs can detect. Invalid trials were repeated."
    )
    design = comparisons[0].design
    if design is not None and design not in verdict:
        yield Text(design)
    for c in comparisons:
        if c.reason:
            yield Text(f"{measured(c)}: {c.reason}.")


_FLOOR_OF = {
    False: "a run without a change (A/A)",
    True: "neighbouring trials of the same arm, between which nothing was changed",
}


def measured(comparison: Comparison) -> str:
    """Return the metric of *comparison*, with the rate if several rates were compared."""
    where = "" if comparison.rate is None else f" at {comparison.rate:g}/s"
    return f"{metric_name(comparison.metric)}{where}"


def _comparison_cells(c: Comparison, interval: str) -> dict[str, str]:
    # The comparisons of a run have one level, unless somebody edited the run.
    level = "" if interval_name(c) == interval else f" ({interval_name(c)})"
    return {
        "verdict": c.verdict,
        "ratio": in_ratio(c.ratio),
        interval: f"{in_interval(c.interval)}{level}",
        "p": number(c.p, 2),
        f"{ARMS['A']}, mean": number(mean(c.before)),
        f"{ARMS['B']}, mean": number(mean(c.after)),
        "unit": c.unit,
        "better when": c.better,
        "pairs": str(c.pairs),
        "invalid trials": str(c.invalid),
        "noise floor": in_percent(c.noise_floor),
        "detectable effect": in_percent(c.minimum_detectable_effect),
    }


def _trials(run: Run) -> Iterator[Block]:
    if not run.trials:
        return
    header = (
        *("trial", "arm", "kind", "validity", "offered/s", "attempted", "replied", "failed"),
        *("replies/s", "us CPU/conn", "p99 ms", "settling s", "machine busy %", "steal %"),
    )
    yield Table(header, tuple(map(_trial_row, run.trials)), frozenset(header[4:]))
    paired = next((trial for trial in run.trials if trial.pair), None)
    if paired is not None:
        yield Text(f"The id of a trial consists of {_PARTS_OF_AN_ID}.")
    for trial in run.trials:
        if trial.reason:
            yield Text(f"{trial.id} is {trial.validity.replace('_', '-')}: {trial.reason}.")


def _trial_row(t: Trial) -> tuple[str, ...]:
    failed = ", ".join(f"{kind} {count}" for kind, count in t.failed.items() if count)
    return (
        t.id,
        ARMS.get(t.arm, t.arm),
        t.kind,
        t.validity,
        number(t.offered_rate),
        number(t.attempted),
        number(t.replied),
        failed or "0",
        number(t.reply_rate),
        number(t.metrics.get(_CPU_METRIC)),
        number(t.latency.p99_ms if t.latency else None, 3),
        f"{t.settle_s:.1f}" + ("" if t.settled else " (not idle)"),
        number(t.host.get("busy"), 3),
        number(t.host.get("steal"), 3),
    )


def _losses(run: Run) -> Iterator[Block]:
    trials = [t for t in run.trials if t.kind == TrialKind.JUDGED and t.valid and t.attempted > 0]
    names = sorted({name for t in trials for name, count in t.failed.items() if count})
    groups: dict[str, list[Trial]] = {}
    for t in trials:
        where = ARMS.get(t.arm, t.arm) if t.pair else run_tables.label(run, t.cell)
        groups.setdefault(f"{where}, {t.offered_rate:.0f}/s", []).append(t)
    if not trials:
        return
    header = ("trials of", "attempted", "replied", "lost", *names)
    rows = tuple(
        (
            where,
            number(attempted := sum(t.attempted for t in group)),
            number(replied := sum(t.replied for t in group)),
            in_percent(1 - replied / attempted, 3),
            *(number(sum(t.failed.get(name, 0) for t in group)) for name in names),
        )
        for where, group in groups.items()
    )
    yield Table(header, rows, frozenset(header[1:]))


def _counters(run: Run) -> Iterator[Block]:
    trials = [t for t in run.trials if t.kind == TrialKind.JUDGED and t.valid]
    names = dict.fromkeys(name for t in trials for name in t.counters)
    if not names:
        return
    arms = sorted({t.arm for t in trials})
    labels = [ARMS.get(arm, arm) for arm in arms]
    header = ("counter", *labels, *(f"{label}, per connection" for label in labels))
    sums = {a: _sums(t.counters for t in trials if t.arm == a) for a in arms}
    rows = tuple(
        (
            metric_name(name),
            *(number(sums[a].get(name)) for a in arms),
            *(_per_connection(sums[a], name) for a in arms),
        )
        for name in names
    )
    yield Text("The counters are the director's, summed over the valid judged trials of each arm.")
    yield Table(header, rows, frozenset(header[1:]))


def _sums(counters: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in counters:
        for name, count in one.items():
            total[name] = total.get(name, 0) + count
    return total


def _per_connection(sums: Mapping[str, int], name: str) -> str:
    connections = sums.get("connections")
    return number(sums[name] / connections) if connections and name in sums else NONE


def _inventory(run: Run) -> Iterator[Block]:
    if not run.inventory:
        return
    rows = (
        (node, name, value)
        for node, facts in run.inventory.items()
        for name, value in facts.items()
    )
    yield Table(("node", "fact", "value"), tuple(rows))


def _steps(run: Run) -> Iterator[Block]:
    if not run.steps:
        return
    yield Text("dirtune took these steps in this order. The same commands can be typed by hand.")
    yield Table(("time", "step"), tuple((step.at, step.note) for step in run.steps))
    yield Commands(tuple(step.command for step in run.steps if step.command))


def _named(pairs: Iterable[tuple[str, str]]) -> Table:
    return Table(("setting", "value"), tuple(pairs))


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from _flat(item, f"{prefix}{key}.")
        elif isinstance(item, list | tuple):
            yield f"{prefix}{key}", "; ".join(map(_item, item))
        elif item is not None:
            yield f"{prefix}{key}", str(item)


def _item(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {item}" for key, item in value.items() if item not in _EMPTY)
    return str(value)
