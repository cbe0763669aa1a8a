"""Findings of one check that have the same cause, put together into one finding."""

import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

from dirtune.checks import Finding, Fix, Outcome

_MOST = 3  # findings of one cause that are shown one by one; services are always put together
_SERVICE = re.compile(r"(?:TCP|UDP|SCTP|FWM) ")
_NAMED = 3  # further subjects that the message names
MOST_NAMES = 8
"""Names that a sentence lists before it counts the rest."""
_COMMANDS = 6  # commands of a fix that are shown if several findings have it
_MOST_COMMANDS = 64  # of the fix of one finding
# Numbers and addresses, which differ between subjects with the same problem.
_VALUE = re.compile(r"[0-9A-Fa-f]*(?:\d|::)[0-9A-Fa-f:.,]*")


def listed(names: Iterable[str]) -> str:
    """Join names for a sentence, such as `eth0, eth1 and eth2`; a host may have thousands."""
    return few(names, MOST_NAMES)


def subjects(names: Iterable[object]) -> str:
    """Join the names of a finding's subjects."""
    every = tuple(map(str, names))
    return ", ".join(every) if len(every) <= MOST_NAMES else listed(every)


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
        _joined(group)
        for alike in causes.values()
        for group in ([alike] if _many(alike) else [[finding] for finding in alike])
    )
    return replace(outcome, findings=tuple(findings))


def _many(alike: list[Finding]) -> bool:
    return len(alike) > (1 if _SERVICE.match(alike[0].subject) else _MOST)


def _cause(finding: Finding) -> object:
    message = _VALUE.sub("0", finding.message.replace(finding.subject, ""))
    fixes = tuple(fix.id for fix in finding.fixes)
    return finding.severity, finding.cause, finding.waived, fixes, message


def _joined(alike: list[Finding]) -> Finding:
    """Return one finding for findings of one cause; a check may have named further subjects."""
    first, *others = alike
    also = (*first.also, *(name for other in others for name in (other.subject, *other.also)))
    fixes = tuple(_fix(alike, fix) for fix in first.fixes)
    if not also:
        return replace(first, fixes=fixes)
    count = f"{len(also):,} others: " if len(also) > _NAMED else ""
    return replace(
        first,
        message=f"{first.message}. The same applies to {count}{few(also)}",
        evidence={"count": 1 + len(also), **first.evidence},
        fixes=fixes,
        also=also,
    )


def _fix(alike: list[Finding], fix: Fix) -> Fix:
    every = dict.fromkeys(
        command
        for finding in alike
        for other in finding.fixes
        if other.id == fix.id
        for command in other.commands
    )
    shown = tuple(islice(every, _COMMANDS if len(alike) > 1 else _MOST_COMMANDS))
    rest = len(every) - len(shown)
    return replace(fix, commands=(*shown, f"# and {rest:,} more") if rest else shown)
