"""A run told as a document: what was asked, found, forecast, measured and done, in that order.

Everything comes from the run alone. What is missing is said to be missing; a section without
any matter is left out.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dirtune.analyse import cost
from dirtune.analyse.cpu import WHOLE, whole
from dirtune.analyse.handlers import HandlerCalls, HandlerWindow
from dirtune.analyse.run import Comparison, CpuShare, Forecast, NodeCpu, Run, Trial, TrialKind
from dirtune.render import run_tables
from dirtune.render.blocks import Block, Commands, Document, Figure, Section, Table, Text

ARMS = {"A": "before", "B": "after"}
_NONE = "-"
_CPU_METRIC = "cpu_us_per_connection"
_SEVERITIES = ("critical", "high", "medium", "low", "info")


def document(run: Run) -> Document:
    """Return the report of *run*."""
    first = run.comparisons[0] if run.comparisons else None
    sections = (
        Section("Scenario", tuple(_scenario(run)) if run.scenario is not None else ()),
        Section("Finding", tuple(_finding(run))),
        Section("Handler cost", tuple(_handler_cost(run))),
        Section("Forecast and outcome", tuple(_forecast(run))),
        Section("Comparison", tuple(_comparison(run))),
        *run_tables.sections(run),
        Section("CPU per node", tuple(_nodes(run))),
        Section("Trials", tuple(_trials(run)), folded=True),
        Section("Counters", tuple(_counters(run)), folded=True),
        Section("Plan", tuple(_scenario(run)) if run.scenario is None else (), folded=True),
        Section("Inventory", tuple(_inventory(run)), folded=True),
        Section("Steps", tuple(_steps(run)), folded=True),
        Section("Notes", tuple(Text(note) for note in run.notes)),
    )
    return Document(
        title=run.title,
        verdict=run.verdict or _headline(run),
        tone=first.verdict if first else "",
        facts=tuple(_facts(first, run.forecast)),
        byline=_byline(run),
        sections=tuple(section for section in sections if section.blocks),
    )


def _headline(run: Run) -> str:
    if run.finished is None:
        return "The run was not finished: there is no verdict."
    return run_tables.headline(run) or "No trial of the run is valid."


def lines_of_interest(run: Run) -> frozenset[int]:
    """Return the interrupt lines the run is about: those forecast, else those found."""
    if run.forecast and run.forecast.irqs:
        return frozenset(run.forecast.irqs)
    evidence = (f.get("evidence", {}) for _, f in _findings(run.audits.get("before", {})))
    labels = (label for e in evidence for label in (e.get("irq"), *(e.get("irqs") or ())))
    return frozenset(int(label) for label in labels if str(label).isdigit())


def handlers_of_interest(run: Run, window: HandlerWindow) -> tuple[HandlerCalls, ...]:
    """Return the handlers of *window* on the lines of interest; all where none is known."""
    lines = lines_of_interest(run)
    return tuple(h for h in window.handlers if not lines or h.irq in lines)


def per_interrupt(window: HandlerWindow, handler: HandlerCalls) -> float | None:
    """Return the calls of *handler* for each interrupt of its line."""
    interrupts = window.line_counts.get(str(handler.irq))
    return handler.calls / interrupts if interrupts else None


def number(value: float | None, digits: int = 4) -> str:
    """Return *value* with so many significant digits; whole numbers in full."""
    if value is None:
        return _NONE
    if isinstance(value, int) or (value == int(value) and abs(value) >= 1000):
        return f"{int(value):,}"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def words(name: str) -> str:
    """Return the name of a metric or counter as a reader would say it."""
    return name.replace("_us_", " µs ").replace("_", " ").replace("cpu", "CPU")


def _byline(run: Run) -> str:
    return f"{run.started} · run {run.id} · dirtune {run.version} · {run.command}"


def _facts(first: Comparison | None, forecast: Forecast | None) -> Iterator[tuple[str, str]]:
    if first:
        yield f"{words(first.metric)}, after / before", _ratio(first.ratio)
        yield "95 % interval", _interval(first.interval)
        yield "p", number(first.p, 2)
        yield "pairs", str(first.pairs)
        yield "noise floor", _share(first.noise_floor)
    if forecast:
        yield "forecast", _ratio(forecast.ratio)


def _scenario(run: Run) -> Iterator[Block]:
    if run.scenario is None:
        yield Text("No lab: the machines, load and metric are those of the plan.")
        yield _named(_flat(run.plan))
        return
    yield Text(
        "Written down before the run and not changed since. The primary metric is"
        f" {words(run.primary_metric)}."
    )
    yield _named(_flat(run.scenario))


def _finding(run: Run) -> Iterator[Block]:
    found = sorted(
        _findings(run.audits.get("before", {})),
        key=lambda pair: _SEVERITIES.index(pair[1].get("severity", "info")),
    )
    if not found:
        return
    rows = tuple(
        (f["severity"], check, f["subject"], f["message"], f.get("cause") or _NONE)
        for check, f in found
    )
    yield Table(("severity", "check", "subject", "what", "caused by"), rows)
    fixes = (
        command for _, f in found for fix in f.get("fixes", ()) for command in fix["commands"]
    )
    commands = tuple(dict.fromkeys(fixes))
    if commands:
        yield Text("Remedies the audit offers:")
        yield Commands(commands)
    if "after" in run.audits:
        yield Text(_after_the_fix(run, {(check, f["subject"]) for check, f in found}))


def _after_the_fix(run: Run, before: set[tuple[str, str]]) -> str:
    after = {(check, f["subject"]) for check, f in _findings(run.audits["after"])}
    gone = ", ".join(f"{c} ({s})" for c, s in sorted(before - after)) or "nothing"
    left = ", ".join(f"{c} ({s})" for c, s in sorted(after)) or "nothing"
    return f"The audit after the fix: gone: {gone}; still found: {left}."


def _findings(audit: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for outcome in audit.get("outcomes", ()):
        for finding in outcome.get("findings", ()):
            yield outcome["check"], finding


def _handler_cost(run: Run) -> Iterator[Block]:
    if not run.handlers:
        return
    header = (
        "window",
        "line",
        "handler",
        "calls",
        "IRQ_NONE",
        "µs each",
        "max µs",
        "calls per interrupt",
    )
    rows = (
        (when, *_handler_row(window, h))
        for when, window in run.handlers.items()
        for h in handlers_of_interest(run, window)
    )
    yield Figure("handlers", "Time in each handler for one interrupt of the line.")
    yield Table(header, tuple(rows), frozenset(header[3:]))
    for when, window in run.handlers.items():
        yield Text(_windowwords(when, window, lines_of_interest(run)))


def _handler_row(window: HandlerWindow, handler: HandlerCalls) -> tuple[str, ...]:
    each = handler.total_ns / handler.calls / 1e3 if handler.calls else None
    return (
        f"irq {handler.irq}",
        handler.handler,
        number(handler.calls),
        number(handler.none),
        number(each, 3),
        number(handler.max_ns / 1e3, 3),
        number(per_interrupt(window, handler), 3),
    )


def _windowwords(when: str, window: HandlerWindow, lines: Iterable[int]) -> str:
    counts = ", ".join(
        f"irq {irq}: {number(window.line_counts.get(str(irq)))}" for irq in sorted(lines)
    )
    text = f"{when.capitalize()}: probed for {window.seconds:.1f} s under load"
    text += f"; interrupts in /proc/interrupts: {counts}" if counts else ""
    text += f"; {number(window.lost)} calls did not fit the probe's table" if window.lost else ""
    if window.probe_ns is None or not window.events:
        return f"{text}; the probe's own cost was not measured."
    share = 100 * window.probe_ns / (window.seconds * 1e9)
    each = window.probe_ns / window.events
    return f"{text}; the probe itself took {each:.0f} ns an event, {share:.2f} % of one CPU."


def _forecast(run: Run) -> Iterator[Block]:
    outcome = next((c for c in run.comparisons if c.metric == _CPU_METRIC), None)
    if run.forecast is None:
        return
    rows = [("forecast", _ratio(run.forecast.ratio), _interval(run.forecast.interval))]
    if outcome:
        rows.append(("measured", _ratio(outcome.ratio), _interval(outcome.interval)))
    yield Figure("ratio", "CPU per connection after over before; 1 is no change.")
    yield Table(("CPU per connection", "ratio", "interval"), tuple(rows), frozenset({"ratio"}))
    yield Text(f"From the probe alone: {run.forecast.basis}.")
    if outcome and outcome.interval and run.forecast.interval:
        yield Text(_agreement(run.forecast.interval, outcome.interval))


def _agreement(forecast: tuple[float, float], measured: tuple[float, float]) -> str:
    if forecast[1] < measured[0]:
        return "The measured interval lies above the forecast: less was gained than forecast."
    if forecast[0] > measured[1]:
        return "The measured interval lies below the forecast: more was gained than forecast."
    if measured[0] <= 1 <= measured[1]:
        return "The intervals overlap, but the measured one holds no change at all as well."
    return "The intervals overlap: forecast and outcome agree."


def _comparison(run: Run) -> Iterator[Block]:
    if not run.comparisons:
        return
    yield Figure("pairs", "Each judged pair: one trial before, one after, side by side in time.")
    header = ("", *map(measured, run.comparisons))
    columns = [_comparison_cells(c) for c in run.comparisons]
    rows = tuple((name, *(cells[name] for cells in columns)) for name in columns[0])
    yield Table(header, rows, frozenset(header[1:]))
    test = run.comparisons[0].test
    yield Text(
        "The ratio is after over before, the geometric mean over pairs; p is from the"
        f" {test} test. Noise floor: half the width of an A/A run's interval. Detectable"
        " effect: the smallest that this many pairs would show. Invalid trials were run again."
    )
    for c in run.comparisons:
        if c.reason:
            yield Text(f"{measured(c)}: {c.reason}.")


def measured(found: Comparison) -> str:
    """Return what was compared, with the rate where there are several."""
    where = "" if found.rate is None else f" at {found.rate:g}/s"
    return f"{words(found.metric)}{where}"


def _comparison_cells(c: Comparison) -> dict[str, str]:
    return {
        "verdict": c.verdict,
        "ratio": _ratio(c.ratio),
        "95 % interval": _interval(c.interval),
        "p": number(c.p, 2),
        f"{ARMS['A']}, mean": number(_mean(c.before)),
        f"{ARMS['B']}, mean": number(_mean(c.after)),
        "unit": c.unit,
        "better": c.better,
        "pairs": str(c.pairs),
        "invalid trials": str(c.invalid),
        "noise floor": _share(c.noise_floor),
        "detectable effect": _share(c.minimum_detectable_effect),
    }


def _nodes(run: Run) -> Iterator[Block]:
    trials = [t for t in run.trials if t.kind == TrialKind.PROFILED and t.nodes] or [
        *cost.looked_at(run)
    ]
    if not trials:
        return
    yield from cpu_table(run, trials)
    samples = ", ".join(sorted({f"{n.samples}" for t in trials for n in t.nodes}))
    sources = sorted({f"{n.node} {n.source}" for t in trials for n in t.nodes})
    yield Text(
        "Mean and (standard deviation) in per cent of the node's CPUs, sampled once a second"
        f" ({samples} samples), in trials that no comparison is judged on."
    )
    yield Text(f"Source of each node's figures: {', '.join(sources)}.")


def cpu_table(run: Run, trials: Iterable[Trial]) -> Iterator[Block]:
    """Yield the table of Figures 16 to 18, and which rows do not sum to 100 per cent."""
    trials = list(trials)
    extra = _states(trials)
    first = "cell" if run.cells else "arm"
    header = (first, "offered/s", "replies/s", "node", "user", "system", "idle", *extra)
    rows = (_node_row(run, t, place, extra) for t in trials for place in range(len(t.nodes)))
    yield Table(header, tuple(rows), frozenset({*header[1:3], *header[4:]}))
    for trial in trials:
        for node in trial.nodes:
            if not whole(node.states):
                total = sum(node.states[name].mean for name in WHOLE if name in node.states)
                yield Text(f"{_of(run, trial)}, {node.node}: sums to {total:.2f} %, not to 100.")


def _of(run: Run, trial: Trial) -> str:
    return run_tables.label(run, trial.cell) if run.cells else ARMS.get(trial.arm, trial.arm)


def _states(trials: Iterable[Trial]) -> tuple[str, ...]:
    seen = {state for t in trials for n in t.nodes for state in n.states}
    return tuple(state for state in ("irq", "softirq", "steal") if state in seen)


def _node_row(run: Run, trial: Trial, place: int, extra: tuple[str, ...]) -> tuple[str, ...]:
    node: NodeCpu = trial.nodes[place]
    # The arm and its rates stand once, beside its first node, as in a printed table.
    lead = (_of(run, trial), number(trial.offered_rate), number(trial.reply_rate))
    states = ("user", "system", "idle", *extra)
    return (
        *(lead if place == 0 else ("", "", "")),
        node.node,
        *(_cpu(node.states.get(state)) for state in states),
    )


def _cpu(share: CpuShare | None) -> str:
    return _NONE if share is None else f"{share.mean:.2f} ({share.sd:.2f})"


def _trials(run: Run) -> Iterator[Block]:
    if not run.trials:
        return
    header = (
        *("trial", "arm", "kind", "validity", "offered/s", "attempted", "replied", "failed"),
        *("replies/s", "µs CPU/conn", "p99 ms", "settled s", "machine busy %", "steal %"),
    )
    yield Table(header, tuple(map(_trial_row, run.trials)), frozenset(header[4:]))
    for trial in run.trials:
        if trial.reason:
            yield Text(f"{trial.id}: {trial.validity}: {trial.reason}.")


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


def _counters(run: Run) -> Iterator[Block]:
    judged = [t for t in run.trials if t.kind == TrialKind.JUDGED and t.valid]
    names = dict.fromkeys(name for t in judged for name in t.counters)
    if not names:
        return
    arms = sorted({t.arm for t in judged})
    labels = [ARMS.get(arm, arm) for arm in arms]
    header = ("counter", *labels, *(f"{label}, per connection" for label in labels))
    sums = {a: _sums(t.counters for t in judged if t.arm == a) for a in arms}
    rows = tuple(
        (
            words(name),
            *(number(sums[a].get(name)) for a in arms),
            *(_per_connection(sums[a], name) for a in arms),
        )
        for name in names
    )
    yield Text("Sums over the valid judged trials of each arm, counted on the director.")
    yield Table(header, rows, frozenset(header[1:]))


def _sums(counters: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in counters:
        for name, count in one.items():
            total[name] = total.get(name, 0) + count
    return total


def _per_connection(sums: Mapping[str, int], name: str) -> str:
    connections = sums.get("connections")
    return number(sums[name] / connections) if connections and name in sums else _NONE


def _inventory(run: Run) -> Iterator[Block]:
    if not run.inventory:
        return
    rows = (
        (node, name, value)
        for node, facts in run.inventory.items()
        for name, value in facts.items()
    )
    yield Table(("node", "what", "value"), tuple(rows))


def _steps(run: Run) -> Iterator[Block]:
    if not run.steps:
        return
    yield Text("What dirtune did, in order; typed by hand, the commands do the same.")
    yield Table(("when", "what"), tuple((step.at, step.note) for step in run.steps))
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
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return str(value)


def _mean(values: tuple[float, ...]) -> float | None:
    return sum(values) / len(values) if values else None


def _ratio(ratio: float | None) -> str:
    return _NONE if ratio is None else f"{ratio:.3f}"


def _interval(interval: tuple[float, float] | None) -> str:
    return _NONE if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def _share(share: float | None) -> str:
    return _NONE if share is None else f"{100 * share:.1f} %"
