"""Render an audit as text for a terminal, or as Markdown."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import click

from dirtune.checks import Check, Finding, Fix, Outcome, Severity, Status
from dirtune.checks.audits import Audit
from dirtune.checks.documents import summary
from dirtune.escape import one_line
from dirtune.render.each_text import each_text
from dirtune.render.markdown import escaped, inline_code
from dirtune.render.overview import overview

COLOURS = {
    Severity.CRITICAL: "bright_red",
    Severity.HIGH: "red",
    Severity.MEDIUM: "yellow",
    Severity.LOW: "cyan",
    Severity.INFO: "blue",
}
_UNWRAPPED = 10_000
_REMEDY = "`dirtune audit -v` says why"
_SHOWN = {
    "interrupts_per_second": "interrupts/s",
    "wasted_cpu_percent": "wasted CPU, %",
    "options": "options",
    "threads": "threads",
}
"""The kinds of evidence that are shown below a finding, with the labels to print."""


_ANY = "any finding of the check"


@dataclass(frozen=True, slots=True)
class Node:
    """A finding, with the findings that it causes."""

    outcome: Outcome
    finding: Finding
    children: "tuple[Node, ...]"
    first: bool
    """Whether this is the first finding of its check, below which the check's reason is shown."""


def text(audit: Audit, *, width: int = 100, verbose: bool = False) -> str:
    """Return an audit for a terminal: the overview, the findings and the number of checks.

    The findings are sorted by severity. A finding that another finding causes is printed below
    that cause.
    """
    audit = each_text(audit, one_line)  # so that colours are the only escape sequences
    blocks = ["\n".join(heading(audit, width, verbose=verbose))]
    blocks += ["\n".join(_node(node, 0, width, frozenset())) for node in tree(audit.outcomes)]
    blocks.append("\n".join(_waived(audit, width)))
    if verbose:
        blocks.append("\n".join(_undecided(audit, width)))
    blocks.append(counts(audit))
    return "\n\n".join(block for block in blocks if block)


def markdown(audit: Audit) -> str:
    """Return the overview, the findings and the undecided checks of an audit as Markdown."""
    name = escaped(str(audit.host["name"] or "a host"))
    summary = overview(audit.outcomes, audit.roles, known=audit.known)
    lines = [f"# Audit of {name}", "", f"**{summary}**", "", f"{escaped(facts(audit))}.", ""]
    for node in tree(audit.outcomes):
        lines += _node_markdown(node, 2)
    lines += [f"- {escaped(row)}" for row in _waived(audit, _UNWRAPPED)]
    lines += ["", f"{counts(audit)}", ""]
    rows = [o for o in audit.outcomes if o.status is not Status.FINDING]
    if rows:
        lines += ["| check | status | reason |", "|---|---|---|"]
        lines += [
            f"| {o.check.id} | {o.status} | {escaped(o.reason or '', cell=True)} |" for o in rows
        ]
    return "\n".join(lines)


def tree(outcomes: Sequence[Outcome]) -> tuple[Node, ...]:
    """Return the findings as trees, sorted by severity; each finding is below its cause.

    Causes are looked up by key, because a hostile host can report so many findings that comparing
    every finding with every other one would take too long.
    """
    every = [(o, f) for o in outcomes for f in o.findings if not f.waived]
    every.sort(key=lambda pair: (pair[1].severity.rank, pair[0].check.id))
    first = {outcome.check.id: finding for outcome, finding in reversed(every)}
    at: dict[tuple[str, object], list[int]] = {}
    for place, (outcome, finding) in enumerate(every):
        for key in _keys(finding):
            at.setdefault((outcome.check.id, key), []).append(place)
    tops: list[int] = []
    below: dict[int, list[int]] = {}
    for place, (_, finding) in enumerate(every):
        causes = tuple(_causes(finding, at))
        if not causes:
            tops.append(place)
        for cause in causes:
            below.setdefault(cause, []).append(place)

    def grown(place: int) -> Node:
        outcome, finding = every[place]
        children = tuple(map(grown, below.get(place, ())))
        return Node(outcome, finding, children, finding is first[outcome.check.id])

    return tuple(map(grown, tops))


def _keys(cause: Finding) -> tuple[object, ...]:
    """Return the keys under which `_causes` finds *cause*.

    These are its interrupts. A cause without interrupts has two keys: its subject, and a key for
    any finding of the check.
    """
    return tuple(("irq", irq) for irq in _irqs(cause)) or (_ANY, ("subject", cause.subject))


def _causes(effect: Finding, at: Mapping[tuple[str, object], Sequence[int]]) -> Iterator[int]:
    """Yield the places of the findings that explain *effect*; *at* has the places by key.

    A finding with interrupts explains each effect with one of its interrupts. Of the findings
    without interrupts, the one with the subject of *effect* explains it, or else the first one.
    """
    if effect.cause is None:
        return
    same = (at.get((effect.cause, ("irq", irq)), ()) for irq in _irqs(effect))
    yield from dict.fromkeys(place for places in same for place in places)
    alike = at.get((effect.cause, ("subject", effect.subject))) or at.get((effect.cause, _ANY), ())
    yield from alike[:1]


def _irqs(finding: Finding) -> tuple[object, ...]:
    several = finding.evidence.get("irqs")
    irqs = (finding.evidence.get("irq"), *(several if isinstance(several, list) else ()))
    return tuple(irq for irq in dict.fromkeys(irqs) if irq is not None)


def heading(audit: Audit, width: int, *, verbose: bool) -> Iterator[str]:
    """Yield the rows of the overview, then the row of facts about the host."""
    name = str(audit.host["name"] or "recorded host")
    remedy = "" if verbose else _REMEDY
    # The name is coloured after wrapping, because colour codes would count as width.
    summary = overview(audit.outcomes, audit.roles, known=audit.known, remedy=remedy)
    rows = textwrap.wrap(f"{name}: {summary}", width, break_on_hyphens=False)
    whole = rows[0].startswith(name)
    yield f"{click.style(name, bold=True)}{rows[0][len(name) :]}" if whole else rows[0]
    yield from rows[1:]
    yield facts(audit)


def facts(audit: Audit) -> str:
    """Return the kernel, the roles and the number of samples of the host, as one row."""
    samples = {1: "one sample", 2: "two samples"}.get(audit.host.get("samples", 0))
    guest = "virtual machine" if audit.host.get("guest") else None
    row = (audit.host.get("kernel"), ", ".join(audit.roles), guest, samples)
    return " · ".join(str(fact) for fact in row if fact)


def _node(node: Node, depth: int, width: int, shown: frozenset[str]) -> Iterator[str]:
    """Yield the rows of a finding, without the fixes that are already *shown* above it."""
    margin = "   " * depth
    finding, check = node.finding, node.outcome.check
    severity = click.style(finding.severity.upper(), fg=COLOURS[finding.severity], bold=True)
    arrow = "└─ " if depth else ""
    yield f"{margin[3:]}{arrow}{severity}  {click.style(check.id, bold=True)}  {finding.subject}"
    inner = f"{margin}   "
    yield from _wrapped(finding.message, inner, width)
    for name, label in _SHOWN.items():
        if finding.evidence.get(name):
            value = _words(finding.evidence[name])
            yield from _wrapped(f"{label}: {value}", inner, width)
    if node.first:
        yield from _labelled("why", why(check), inner, width)
    for fix in finding.fixes:
        if fix.id not in shown:
            yield from _fix(fix, inner, width)
    for child in node.children:
        yield ""
        yield from _node(child, depth + 1, width, shown | {fix.id for fix in finding.fixes})


def why(check: Check) -> str:
    """Return the first paragraph of a check's section `Why it matters`, on one line."""
    _, _, after = check.doc.partition("## Why it matters\n")
    return " ".join(after.strip().partition("\n\n")[0].partition("\n##")[0].split())


def _fix(fix: Fix, inner: str, width: int) -> Iterator[str]:
    yield from _labelled("fix", f"{fix.title} [{fix.risk}]", inner, width)
    for command in fix.commands:
        yield f"{inner}     $ {command}"
    if fix.competes:
        yield from _wrapped(f"also set by: {', '.join(fix.competes)}", f"{inner}     ", width)


def _labelled(label: str, value: str, inner: str, width: int) -> Iterator[str]:
    first, *rest = textwrap.wrap(value, max(30, width - len(inner) - 5)) or [""]
    yield f"{inner}{click.style(f'{label:4}', dim=True)} {first}"
    yield from (f"{inner}     {row}" for row in rest)


def _words(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _wrapped(message: str, inner: str, width: int) -> Iterator[str]:
    for row in textwrap.wrap(message, max(30, width - len(inner))):
        yield f"{inner}{row}"


def _waived(audit: Audit, width: int) -> Iterator[str]:
    for outcome in audit.outcomes:
        for finding in outcome.findings:
            if finding.waived:
                until = f"{finding.waived.reason} (until {finding.waived.expires})"
                row = f"waived  {outcome.check.id}  {finding.subject}: {until}"
                yield from textwrap.wrap(row, width, subsequent_indent="        ")


def _undecided(audit: Audit, width: int) -> Iterator[str]:
    outcomes = [outcome for outcome in audit.outcomes if outcome.status is not Status.FINDING]
    statuses = max((len(outcome.status.value) for outcome in outcomes), default=0)
    ids = max((len(outcome.check.id) for outcome in outcomes), default=0)
    for outcome in outcomes:
        row = (
            f"{outcome.status.value:{statuses}}  {outcome.check.id:{ids}}  {outcome.reason or ''}"
        )
        indent = " " * min(statuses + ids + 4, width // 2)
        yield from textwrap.wrap(row, width, subsequent_indent=indent)


def counts(audit: Audit) -> str:
    """Return the number of findings by severity, and of the other checks by status."""
    numbers = summary(audit)
    severities = {severity.value for severity in Severity}
    findings = [f"{n} {name}" for name, n in numbers.items() if n and name in severities]
    rest = [f"{n} {k.replace('_', ' ')}" for k, n in numbers.items() if n and k not in severities]
    return " · ".join(filter(None, (", ".join(findings), ", ".join(rest)))) or "no check was run"


def _node_markdown(node: Node, level: int) -> Iterator[str]:
    finding, check = node.finding, node.outcome.check
    yield f"{'#' * level} {finding.severity}: {check.id}, {escaped(finding.subject)}"
    yield ""
    yield f"{escaped(finding.message)}."
    yield ""
    yield why(check)
    yield ""
    for fix in finding.fixes:
        yield f"- {escaped(fix.title)} ({fix.risk})"
        yield from (f"  - {inline_code(command)}" for command in fix.commands)
        if fix.competes:
            yield f"  - also set by: {escaped(', '.join(fix.competes))}"
    yield ""
    for child in node.children:
        yield from _node_markdown(child, min(level + 1, 6))
