"""Audits of a record and of its redacted copy, compared up to a renaming."""

import re

from dirtune import checks
from dirtune.checks import discovery, host_roles
from dirtune.fetch import record
from dirtune.host import LiveHost
from dirtune.snapshot import patterns_of, take_all

CHECKS = discovery.all_checks()
WORD = re.compile(r"\w(?:[\w.:@+*-]*\w)?")


def of_tree(root):
    return (record(LiveHost(root), patterns_of()),)


def audit(samples):
    """Return (check, status, severity, texts) of every finding, and of every check without."""
    snapshot = take_all(samples)
    rows = [("roles", host_roles.roles(snapshot), None, ())]
    for outcome in checks.run(CHECKS, snapshot):
        assert outcome.status != checks.Status.ERROR, outcome
        name = outcome.check.id
        rows.append((name, outcome.status, outcome.severity, (outcome.reason or "",)))
        rows += [(name, None, f.severity, texts_of(f)) for f in outcome.findings]
    return rows


def texts_of(finding):
    fixes = [text for fix in finding.fixes for text in (fix.title, *fix.commands)]
    return (finding.subject, finding.message, repr(finding.evidence), *fixes)


def differences(before, after):
    """Return where two audits differ by more than one consistent, reversible renaming.

    Findings of a check come in the order of names, which renaming changes: any order will do.
    """
    there, back, found = {}, {}, []
    kinds = [sorted(map(kind, rows)) for rows in (before, after)]
    if kinds[0] != kinds[1]:
        return [(a, b) for a, b in zip(*kinds, strict=False) if a != b] or kinds
    left = {}
    for row in after:
        left.setdefault(kind(row), []).append(row)
    # Those that only one fits come first, and tell the names for the others.
    for row in sorted(before, key=lambda row: len(left[kind(row)])):
        same = left[kind(row)]
        fit = next((new for new in same if renaming(row, new, there, back) is not None), None)
        if fit is None:
            found.append((row, same[0]))
            continue
        words = renaming(row, fit, there, back)
        there |= words
        back |= {new: old for old, new in words.items()}
        same.remove(fit)
    return found


def kind(row):
    """Return what of a finding is the same under every name."""
    return repr((*row[:3], [WORD.sub("*", text) for text in row[3]]))


def renaming(old, new, there, back):
    """Return what the words of a finding became; None if that contradicts those before.

    An undecided check may name the first interface by name, which another name may not be.
    """
    found, inverse = {}, {}
    if old[1] is not None:
        return found
    for before, after in zip(old[3], new[3], strict=True):
        for a, b in zip(WORD.findall(before), WORD.findall(after), strict=True):
            if there.get(a, found.setdefault(a, b)) != b:
                return None
            if back.get(b, inverse.setdefault(b, a)) != a:
                return None
    return found
