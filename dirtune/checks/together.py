"""Findings of one check that have the same cause, put together into one finding."""

import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

from dirtune.checks import Finding, Fix, Outcome

_MOST = 3  # findings of one cause that are shown one by one; services are always put together
_SERVICE = re.compile(r"(?:TCP|UDP|SCTP|FWM) ")
_NAMED = 3  # further subjects that the message names
_COMMANDS = 6  # commands of a fix that are shown
# Numbers and addresses, which differ between subjects with the same problem.
_VALUE = re.compile(r"[0-9A-Fa-f]*(?:\d|::)[0-9A-Fa-f:.,]*")


def few(names: Iterable[str], most: int = _NAMED) -> str:
    """Join the first *most* names for a sentence, and count the rest."""
    every = tuple(names)
    shown, rest = every[:most], len(every) - most
    if rest > 0:
        return f"{', '.join(shown)} and {rest:,} more"
    *first, last = shown or ("",)
    return f"{', '.join(first)} and {last}" if first else last


def one_per_cause(outcome: Outcome) -> Outcome:
    """Return *outcome* with one finding for each cause that many findings share.

    Services are many from two on, and other subjects from four on.
    Findings have the same cause if their severity, waiver, fixes and messages are the same, apart
    from numbers, addresses and the subject's name. The first finding of the cause stays in its
    place, and names the others.
    """
    causes: dict[object, list[Finding]] = {}
    for finding in outcome.findings:
        causes.setdefault(_cause(finding), []).append(finding)
    findings = (
        finding
        for alike in causes.values()
        for finding in ((_joined(alike),) if _many(alike) else alike)
    )
    return replace(outcome, findings=tuple(findings))


def _many(alike: list[Finding]) -> bool:
    return len(alike) > (1 if _SERVICE.match(alike[0].subject) else _MOST)


def _cause(finding: Finding) -> object:
    message = _VALUE.sub("0", finding.message.replace(finding.subject, ""))
    fixes = tuple(fix.id for fix in finding.fixes)
    return finding.severity, finding.cause, finding.waived, fixes, message


def _joined(alike: list[Finding]) -> Finding:
    first, *others = alike
    names = few(other.subject for other in others)
    count = f"{len(others):,} others: " if len(others) > _NAMED else ""
    return replace(
        first,
        message=f"{first.message}. The same applies to {count}{names}",
        evidence={"count": len(alike), **first.evidence},
        fixes=tuple(_fix(alike, fix) for fix in first.fixes),
        also=tuple(other.subject for other in others),
    )


def _fix(alike: list[Finding], fix: Fix) -> Fix:
    every = dict.fromkeys(
        command
        for finding in alike
        for other in finding.fixes
        if other.id == fix.id
        for command in other.commands
    )
    shown = tuple(islice(every, _COMMANDS))
    rest = len(every) - len(shown)
    return replace(fix, commands=(*shown, f"# and {rest:,} more") if rest else shown)
