"""Render the interrupt handlers that matter for a run, and the CPU time that each took."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from dirtune.analyse.handlers import HandlerCalls, HandlerWindow
from dirtune.analyse.run import Run, TrialKind
from dirtune.analyse.words import counted
from dirtune.errors import ParseError
from dirtune.render import run_tables
from dirtune.render.blocks import Block, Figure, Table, Text
from dirtune.render.figures import number

_NUMBER = re.compile(r"[0-9]{1,9}")


def handler_cost(run: Run) -> Iterator[Block]:
    """Yield a chart and a table of the handlers' CPU time in each probed window."""
    if not run.handlers:
        return
    header = (
        "window",
        "line",
        "handler",
        "calls",
        "IRQ_NONE",
        "us per call",
        "max us",
        "calls per interrupt",
    )
    rows = (
        (_marked(run, when), *_handler_row(window, h))
        for when, window in run.handlers.items()
        for h in handlers_of_interest(run, window)
    )
    yield Figure("handlers", "Time that each handler takes per interrupt on its line.")
    yield Table(header, tuple(rows), frozenset(header[3:]))
    for when, window in run.handlers.items():
        yield Text(_window(_marked(run, when), window, lines_of_interest(run)))


def _marked(run: Run, when: str) -> str:
    """Return *when*, with a mark if the trial that timed the handlers is not valid.

    *when* is `before` or `after` (the fix).
    """
    arm = {"before": "A", "after": "B"}.get(when)
    timed = (t for t in run.trials if t.kind == TrialKind.PROFILED and t.arm == arm)
    return run_tables.marked(when, *timed)


def lines_of_interest(run: Run) -> frozenset[int]:
    """Return the interrupt lines of the forecast, or of the findings if there is no forecast."""
    if run.forecast and run.forecast.irqs:
        return frozenset(run.forecast.irqs)
    evidence = (f.get("evidence", {}) for _, f in findings(run.audits.get("before", {})))
    labels = (label for e in evidence for label in (e.get("irq"), *_listed(e.get("irqs"))))
    return frozenset(int(label) for label in map(str, labels) if _NUMBER.fullmatch(label))


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()


def handlers_of_interest(run: Run, window: HandlerWindow) -> tuple[HandlerCalls, ...]:
    """Return the handlers of *window* on the interrupt lines that the run is about.

    If the run is about no particular line, the result holds all of them.
    """
    lines = lines_of_interest(run)
    return tuple(h for h in window.handlers if not lines or h.irq in lines)


def per_interrupt(window: HandlerWindow, handler: HandlerCalls) -> float | None:
    """Return the calls of *handler* per interrupt; None if its line's interrupts are unknown."""
    interrupts = window.line_counts.get(str(handler.irq))
    return handler.calls / interrupts if interrupts else None


class _Fix(msgspec.Struct):
    commands: tuple[str, ...]


class _Finding(msgspec.Struct):
    severity: Literal["critical", "high", "medium", "low", "info"]
    subject: str
    message: str
    cause: str | None = None
    evidence: dict[str, object] = {}
    fixes: tuple[_Fix, ...] = ()


class _Outcome(msgspec.Struct):
    check: str
    findings: tuple[_Finding, ...] = ()


class _Audit(msgspec.Struct):
    """The part of an audit (`dirtune/audit/1`) that a report reads."""

    outcomes: tuple[_Outcome, ...] = ()


def findings(audit: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each finding of *audit* (`dirtune/audit/1`), with the id of its check.

    Raises `ParseError` if *audit* has another form.
    """
    try:
        msgspec.convert(audit, _Audit)
    except msgspec.ValidationError as error:
        raise ParseError("The audit in run.json", str(error)) from error
    for outcome in audit.get("outcomes", ()):
        for finding in outcome.get("findings", ()):
            yield outcome["check"], finding


def _handler_row(window: HandlerWindow, handler: HandlerCalls) -> tuple[str, ...]:
    us_per_call = handler.total_ns / handler.calls / 1e3 if handler.calls else None
    return (
        f"irq {handler.irq}",
        handler.handler,
        number(handler.calls),
        number(handler.none),
        number(us_per_call, 3),
        number(handler.max_ns / 1e3, 3),
        number(per_interrupt(window, handler), 3),
    )


def _window(when: str, window: HandlerWindow, lines: Iterable[int]) -> str:
    sentences = [f"{when.capitalize()}: the probe ran for {window.seconds:.1f} s under load."]
    counts = {irq: window.line_counts.get(str(irq)) for irq in sorted(lines)}
    if parts := [f"{number(n)} on irq {irq}" for irq, n in counts.items() if n is not None]:
        sentences.append(f"Interrupts in /proc/interrupts: {', '.join(parts)}.")
    if window.lost:
        sentences.append(f"The probe's table had no room for {counted(window.lost, 'call')}.")
    if window.probe_ns is None or not window.events:
        sentences.append("The probe's own cost was not measured.")
    else:
        share = 100 * window.probe_ns / (window.seconds * 1e9)
        ns_per_event = window.probe_ns / window.events
        sentences.append(
            f"The probe took {ns_per_event:.0f} ns per event, {share:.2f} % of a CPU."
        )
    return " ".join(sentences)
