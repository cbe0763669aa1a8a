"""Render the audits of one host, or of the nodes of a cluster, as the blocks of a page."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

from dirtune.checks import Finding, Severity, Status
from dirtune.checks.audits import Audit, Report
from dirtune.render import first_screen
from dirtune.render.audit import Node, facts, tree, why
from dirtune.render.blocks import Block, Commands, Document, Entry, Section, Table, Text
from dirtune.render.overview import overview

_MOST = 2000
"""Findings of a host that a page shows; a hostile host can have any number."""
_TITLES = {
    Status.SKIPPED: "Checks that could not be decided",
    Status.INCONCLUSIVE: "Checks that could not be decided",
    Status.ERROR: "Checks that could not be decided",
    Status.PASSED: "Passed checks",
    Status.NOT_APPLICABLE: "Checks for other hosts",
}
"""The sections of the checks without a finding, by status."""


def document(report: Report, where: Sequence[str] | None = ()) -> Document:
    """Return the page of *report*; *where* is that of `first_screen.text`."""
    parts = report.parts
    nodes = [tree(audit.outcomes) for audit in parts]
    worst = min((top for tops in nodes for top in tops), key=_rank, default=None)
    counts = Counter(f.severity for tops in nodes for f in _findings(tops))
    names = [_name(audit) for audit in parts]
    return Document(
        title=f"Audit of {', '.join(names[:3])}{' and others' if len(names) > 3 else ''}",
        verdict=" ".join(_verdicts(parts)),
        tone="",
        facts=tuple((severity.value, str(counts[severity])) for severity in Severity),
        byline=" | ".join(filter(None, map(facts, parts))),
        sections=(*_lost(report), *_sections(parts, nodes)),
        cause=f"{worst.finding.message}." if worst else "",
        to_do=tuple(_to_do(parts, nodes, where)),
    )


def _verdicts(parts: Sequence[Audit]) -> Iterator[str]:
    for audit in parts:
        words = overview(audit.outcomes, audit.roles, known=audit.known)
        yield words if len(parts) == 1 else f"{_name(audit)}: {words}"


def _name(audit: Audit) -> str:
    return str(audit.host["name"] or "a recorded host")


def _rank(node: Node) -> int:
    return node.finding.severity.rank


def _findings(nodes: Sequence[Node]) -> Iterator[Finding]:
    for node in nodes:
        yield node.finding
        yield from _findings(node.children)


def _to_do(
    parts: Sequence[Audit], nodes: Sequence[Sequence[Node]], where: Sequence[str] | None
) -> Iterator[Text | Commands]:
    for audit, tops in zip(parts, nodes, strict=True):
        if command := first_screen.next_command(tops, where):
            on = f"On {_name(audit)}: " if len(parts) > 1 else ""
            what = "print the fix" if " fix plan " in command else "read about the finding"
            text = f"{on}{what}. This changes nothing."
            yield Text(f"{text[:1].upper()}{text[1:]}")
            yield Commands((command,))


def _lost(report: Report) -> Iterator[Section]:
    if report.unreachable:
        table = Table(("host", "reason"), report.unreachable)
        yield Section("Hosts that could not be audited in full", (table,))


def _sections(parts: Sequence[Audit], nodes: Sequence[Sequence[Node]]) -> Iterator[Section]:
    for audit, tops in zip(parts, nodes, strict=True):
        of = f" of {_name(audit)}" if len(parts) > 1 else ""
        yield from _section(f"Findings{of}", tuple(_first(_entries(tops))))
        yield from _section(f"Waived findings{of}", tuple(_waived(audit)))
        for title in dict.fromkeys(_TITLES.values()):
            rows = tuple(
                (o.check.id, o.check.title, o.reason or "")
                for o in audit.outcomes
                if _TITLES.get(o.status) == title
            )
            block = Table(("check", "finding", "reason"), rows)
            yield from _section(f"{title}{of}", (block,) if rows else ())


def _first(entries: Iterator[Block]) -> Iterator[Block]:
    yield from islice(entries, _MOST)
    if next(entries, None):
        yield Text(f"The page shows the first {_MOST:,} findings; --format json has all of them.")


def _section(title: str, blocks: tuple[Block, ...]) -> Iterator[Section]:
    if blocks:
        yield Section(title, blocks)


def _entries(nodes: Sequence[Node], cause: str = "") -> Iterator[Block]:
    """Yield each finding with its reason and its fixes, and the findings that it causes."""
    for node in nodes:
        finding, check = node.finding, node.outcome.check
        caused = f" Its cause is {cause}." if cause else ""
        reason = f" {why(check)}" if node.first else ""
        title = f"{check.id}: {finding.subject}"
        fixes = ((f"{fix.title} ({fix.risk})", tuple(fix.commands)) for fix in finding.fixes)
        yield Entry(
            finding.severity.value,
            title,
            f"{finding.message}.{caused}{reason}",
            tuple(fixes),
        )
        yield from _entries(node.children, check.id)


def _waived(audit: Audit) -> Iterator[Block]:
    rows = tuple(
        (o.check.id, f.subject, f.waived.reason, str(f.waived.expires))
        for o in audit.outcomes
        for f in o.findings
        if f.waived
    )
    if rows:
        yield Table(("check", "subject", "reason", "until"), rows)
