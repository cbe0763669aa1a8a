"""Every outcome that a test of a check brings about is held to what holds for all of them."""

import dataclasses
import re

import pytest

from dirtune import checks
from dirtune.checks import discovery
from dirtune.snapshot import FIELDS, MOVING, Snapshot
from tests.checks.applied import applied
from tests.checks.owned import PROGRAMS, owned_by, require_owners_words

PAST = ("earlier", "ip_vs_status", "kernel_log", "locks", "handlers", "softirq_window")
ALL, RUN = discovery.all_checks(), checks.run
SPOKEN = set()
"""The kinds of findings whose words were tried with each owner of the table."""

# What `dirtune fix` can do by itself, in the shell's words: one value in one file of the kernel,
# but for the files that are orders to the PCI bus, and four options of ethtool.
AUTOMATIC = re.compile(
    r"(?:echo|printf '%s\\n') \S+ > '?/(?:proc|sys)/(?!bus/pci/)\S+"
    r"|ethtool -[GLCK] .*"
)
# The field says NIC and INTx line.
NOT_THE_FIELDS = re.compile(r"\b(cards?|wires?)\b")
NO_BEGINNING = {"and", "for", "from", "of", "that", "what", "whether", "which"}


def require_one_of_each(finding):
    """Require of *finding* that each change has one fix, and is automatic where it can be."""
    ids = [fix.id for fix in finding.fixes]
    done = [fix.commands or fix.settings for fix in finding.fixes]
    assert all(done.count(each) == 1 for each in done if each), f"two fixes are one change: {ids}"
    for fix in finding.fixes:
        by_hand = bool(fix.commands) and not fix.settings
        could = all(AUTOMATIC.fullmatch(row) for row in fix.commands)
        assert not (by_hand and could), f"{fix.id}: `dirtune fix` can do {fix.commands}"


def begins_with_its_subject(text, *named):
    """Tell whether *text* begins with a capital, a figure, or a name of the host or kernel."""
    first = text.split()[0]
    return bool(re.search(r"[^a-z]", first)) or first in re.split(r"[^\w-]+", f"{named}")


def require_sentences(found):
    """Require that whatever *found* says can be read alone: in JSON, in a ticket."""
    titles = [fix.title for finding in found.findings for fix in finding.fixes]
    assert all(map(begins_with_its_subject, titles))
    for finding in found.findings:
        message = finding.message
        assert begins_with_its_subject(message, finding.subject, finding.evidence), message
    if found.reason:
        assert found.reason.split()[0].lower() not in NO_BEGINNING, found.reason
    for text in (*titles, *(f.message for f in found.findings), found.reason or ""):
        assert not NOT_THE_FIELDS.search(text), text


def require_as_recorded(snapshot):
    """Require that the earlier sample has only what the recorder reads twice."""
    earlier = snapshot.earlier if isinstance(snapshot, Snapshot) else None
    kept = {f for f in FIELDS if f not in MOVING and getattr(earlier, f, None) is not None}
    assert not kept, f"the recorder does not read these fields in the earlier sample: {kept}"


def require_mending(each, snapshot, finding):
    """Require that no fix makes a fault that a check knows, and that each ends what it mends."""
    if not isinstance(snapshot, Snapshot):
        return
    for fix in finding.fixes:
        after = applied(snapshot, fix.settings) if fix.settings else None
        if after is None:
            continue
        # What counters, the log and probes tell of the time before the fix stays as it was.
        new = grave(after, finding.severity) - grave(snapshot, finding.severity)
        new = {(check, subject) for check, subject in new if check != each.id}
        assert not new, f"{each.id}: {fix.id} makes {new}"
        state = dataclasses.replace(after, **dict.fromkeys(PAST))
        left = grave(state, finding.severity)
        assert (each.id, finding.subject) not in left, f"{each.id}: {fix.id} mends nothing"


def require_every_owner(each, snapshot, finding):
    """Require the words of each owner of the table, once for each kind of finding."""
    kind = each.id, finding.severity, *(fix.id for fix in finding.fixes)
    if kind in SPOKEN or not isinstance(snapshot, Snapshot):
        return
    SPOKEN.add(kind)
    for planted in (snapshot, *(owned_by(snapshot, program) for program in PROGRAMS)):
        for outcome in RUN((each,), planted):
            for spoken in outcome.findings:
                require_owners_words(spoken, planted)


def grave(snapshot, severity):
    """The findings of an audit that are *severity* or graver, by check and subject."""
    outcomes = RUN(ALL, snapshot)
    return {
        (o.check.id, f.subject)
        for o in outcomes
        for f in o.findings
        if f.severity.rank <= severity.rank
    }


@pytest.fixture(autouse=True)
def _what_holds_for_all(monkeypatch):
    outcome = checks._outcome
    mending = []

    def judged(each, judge, what):
        require_as_recorded(what)
        found = outcome(each, judge, what)
        for finding in found.findings:
            require_one_of_each(finding)
        if not mending and "made-up" not in each.id:
            mending.append(each)
            for finding in found.findings:
                require_mending(each, what, finding)
                require_every_owner(each, what, finding)
            mending.clear()
        if "made-up" not in each.id:
            require_sentences(found)
        return found

    monkeypatch.setattr(checks, "_outcome", judged)
