"""Audits of a record and of its redacted copy, compared up to a renaming."""

import re

from dirtune import checks
from dirtune.fetch import record
from dirtune.host import LiveHost
from dirtune.snapshot import patterns_of, take_all

CHECKS = checks.all_checks()
WORD = re.compile(r"[\w.:@+*-]*\w[\w.:@+*-]*")


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
    """Return where two audits differ by more than one consistent, reversible renaming."""
    there, back = {}, {}
    shape = [[row[:3] for row in rows] for rows in (before, after)]
    if shape[0] != shape[1]:
        return [pair for pair in zip(before, after, strict=False) if pair[0][:3] != pair[1][:3]]
    found = []
    for old, new in zip(before, after, strict=True):
        words = [[w for text in row[3] for w in WORD.findall(text)] for row in (old, new)]
        bare = [[WORD.sub("*", text) for text in row[3]] for row in (old, new)]
        pairs = list(zip(*words, strict=False))
        fits = all(there.setdefault(a, b) == b and back.setdefault(b, a) == a for a, b in pairs)
        if bare[0] != bare[1] or not fits or len(words[0]) != len(words[1]):
            found.append(
                (old, new, [p for p in pairs if there[p[0]] != p[1] or back[p[1]] != p[0]])
            )
    return found
