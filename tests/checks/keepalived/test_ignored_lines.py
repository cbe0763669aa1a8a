from dirtune.checks import Severity, Status
from dirtune.checks.keepalived.ignored_lines import ignored_lines
from tests.checks.keepalived.directors import findings, outcome, real, server


def test_a_host_without_keepalived_has_nothing_to_judge():
    assert outcome(ignored_lines, None).status is Status.NOT_APPLICABLE


def test_a_line_that_keepalived_ignores():
    (finding,) = findings(ignored_lines, "global_defs {\n foo 1\n bar 2\n}\n")

    assert (finding.severity, finding.subject) == (Severity.MEDIUM, "/etc/k.conf")
    assert "/etc/k.conf: line 2 (Unknown keyword 'foo'), and 1 more lines" in finding.message
    assert finding.evidence["lines"][1].startswith("/etc/k.conf: line 3")


def test_a_configuration_that_is_understood():
    assert outcome(ignored_lines, server(real("10.0.1.1"))).status is Status.PASSED
