"""Render an audit as one screen: a sentence, the findings by severity, and the next command."""

import shlex
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

import click

from dirtune.checks import Severity
from dirtune.checks.audits import Audit
from dirtune.escape import one_line
from dirtune.render.audit import COLOURS, Node, counts, heading, tree
from dirtune.render.each_text import each_text

_CUT = "..."
_ROWS = 23
"""A terminal has 24 rows, and the shell's prompt takes the last one."""
_MESSAGE_ROWS = (12, 4, 2, 1, 0)
"""Rows of a finding's message: the first number with which all findings fit on the screen."""
PLANNED = frozenset({"unbind-partners"})
"""Fixes without settings that `dirtune fix` can make, because it determines the changes itself."""


def text(audit: Audit, *, width: int = 80, where: Sequence[str] | None = ()) -> str:
    """Return the first screen of an audit, which has at most 23 rows at 80 columns or more.

    *where* has the options with which `dirtune fix plan` reads the audited host; it is None if
    `dirtune fix plan` cannot read it.
    """
    audit = each_text(audit, one_line)  # so that colours are the only escape sequences
    head = list(heading(audit, width, verbose=False))
    nodes = tree(audit.outcomes)
    tail = [*_waived(audit), _next(nodes, where), *textwrap.wrap(counts(audit), width)]
    findings = _findings(nodes, width, _ROWS - len(head) - len(tail) - 2)
    return "\n".join([*head, "", *findings, *([""] if findings else []), *filter(None, tail)])


def _findings(nodes: Sequence[Node], width: int, most: int) -> list[str]:
    """Return the rows of the findings; at most *most* rows, but at least one finding."""
    for rows in _MESSAGE_ROWS:
        shown = list(islice(_rows(nodes, width, rows), most + 1))
        if len(shown) <= most:
            return shown
    every = list(_walk(nodes))
    kept = max(1, most - 1)
    left = Counter(node.finding.severity for node, _ in every[kept:])
    numbers = ", ".join(f"{left[severity]} {severity}" for severity in Severity if left[severity])
    more = f"... and {numbers} more: `dirtune audit -v` shows them"
    return [*shown[:kept], *textwrap.wrap(more, width)]


def _rows(nodes: Sequence[Node], width: int, message_rows: int) -> Iterator[str]:
    for node, depth in _walk(nodes):
        margin = f"{'   ' * (depth - 1)}└─ " if depth else ""
        yield f"{margin}{_title(node, width - len(margin))}"
        inner = "   " * (depth + 1)
        if message_rows:
            yield from textwrap.wrap(
                node.finding.message,
                max(30, width - len(inner)),
                initial_indent=inner,
                subsequent_indent=inner,
                max_lines=message_rows,
                placeholder=f" {_CUT}",
                break_on_hyphens=False,
            )


def _walk(nodes: Sequence[Node], depth: int = 0) -> Iterator[tuple[Node, int]]:
    for node in nodes:
        yield node, depth
        yield from _walk(node.children, depth + 1)


def _title(node: Node, width: int) -> str:
    """Return severity, check and subject of a finding; the subject is shortened to *width*."""
    severity, check = node.finding.severity, node.outcome.check.id
    plain = f"{severity.upper():8}  {check}  "
    room = max(10, width - len(plain))
    subject = node.finding.subject
    if len(subject) > room:
        subject = f"{subject[: room - len(_CUT)]}{_CUT}"
    coloured = click.style(f"{severity.upper():8}", fg=COLOURS[severity], bold=True)
    return f"{coloured}  {click.style(check, bold=True)}  {subject}"


def _waived(audit: Audit) -> Iterator[str]:
    number = sum(f.waived is not None for outcome in audit.outcomes for f in outcome.findings)
    if number:
        are = "finding is" if number == 1 else "findings are"
        yield f"{number} waived {are} not shown: `dirtune audit -v` shows all"


def _next(nodes: Sequence[Node], where: Sequence[str] | None) -> str:
    command = next_command(nodes, where)
    return f"Next: {command}" if command else ""


def next_command(nodes: Sequence[Node], where: Sequence[str] | None) -> str:
    """Return the command to run next; empty if nothing was found.

    The command is the plan of the most severe finding that `dirtune fix` can mend. If it can mend
    none, the command explains the most severe finding.
    """
    if not nodes:
        return ""
    mendable = (node for node, _ in _walk(nodes) if _can_be_planned(node))
    first = next(mendable, None)
    if first is None or where is None:
        return f"dirtune explain {nodes[0].outcome.check.id}"
    return shlex.join(("dirtune", "fix", "plan", first.outcome.check.id, *where))


def _can_be_planned(node: Node) -> bool:
    return any(fix.settings or fix.id in PLANNED for fix in node.finding.fixes)
