"""Every finding that a test of a check brings about is held to what holds for all fixes."""

import re

import pytest

from dirtune import checks

# What `dirtune fix` can do by itself, in the shell's words: one value in one file of the kernel,
# but for the files that are orders to the PCI bus, and four options of ethtool.
AUTOMATIC = re.compile(
    r"(?:echo|printf '%s\\n') \S+ > '?/(?:proc|sys)/(?!bus/pci/)\S+"
    r"|ethtool -[GLCK] .*"
)


def require_one_of_each(finding):
    """Require of *finding* that each change has one fix, and is automatic where it can be."""
    ids = [fix.id for fix in finding.fixes]
    done = [fix.commands or fix.settings for fix in finding.fixes]
    assert all(done.count(each) == 1 for each in done if each), f"two fixes are one change: {ids}"
    for fix in finding.fixes:
        by_hand = bool(fix.commands) and not fix.settings
        could = all(AUTOMATIC.fullmatch(row) for row in fix.commands)
        assert not (by_hand and could), f"{fix.id}: `dirtune fix` can do {fix.commands}"


@pytest.fixture(autouse=True)
def _fixes_are_one_of_each(monkeypatch):
    outcome = checks._outcome

    def judged(each, judge, what):
        found = outcome(each, judge, what)
        for finding in found.findings:
            require_one_of_each(finding)
        return found

    monkeypatch.setattr(checks, "_outcome", judged)
