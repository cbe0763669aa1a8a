"""Audits of a record and of its redacted copy, compared up to a renaming."""

import re

from dirtune import checks
from dirtune.fetch import record
from dirtune.host import LiveHost
from dirtune.snapshot import patterns_of, take_all

CHECKS = checks.all_checks()
WORD = re.compile(r"\w(?:[\w.:@+*-]*\w)?")


def of_tree(root):
    return (record(LiveHost(root), patterns_of()),)


def audit(samples):
    """Return (check, status, severity, texts) of every finding, and of every check without."""
    snapshot = take_all(samples)
    rows = [("roles", checks.roles(snapshot), None, ())]
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
        fits = [new for new in same if not wrong(row, new, dict(there), dict(back))]
        if not fits:
            found.append((row, same[0]))
            continue
        wrong(row, fits[0], there, back)
        same.remove(fits[0])
    return found


def kind(row):
    """Return what of a finding is the same under every name."""
    return repr((*row[:3], [WORD.sub("*", text) for text in row[3]]))


def wrong(old, new, there, back):
    """Return the words of a finding that are not renamed as they were in those before.

    An undecided check may name the first interface by name, which another name may not be.
    """
    if old[1] is not None:
        return []
    words = [[w for text in row[3] for w in WORD.findall(text)] for row in (old, new)]
    return [
        (a, b)
        for a, b in zip(*words, strict=True)
        if there.setdefault(a, b) != b or back.setdefault(b, a) != a
    ]
