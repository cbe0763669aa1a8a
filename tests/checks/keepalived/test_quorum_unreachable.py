from dirtune.checks import Severity, Status
from dirtune.checks.keepalived.quorum_unreachable import quorum_unreachable
from tests.checks.keepalived.directors import findings, outcome, real, server


def test_a_host_without_keepalived_has_nothing_to_judge():
    assert outcome(quorum_unreachable, None).status is Status.NOT_APPLICABLE


ZERO = real("10.0.1.1", "weight 0\nTCP_CHECK {\n}\n")


def test_real_servers_of_weight_0():
    (finding,) = findings(quorum_unreachable, server(ZERO))

    assert finding.severity is Severity.MEDIUM
    assert (finding.evidence["weight"], finding.evidence["quorum"]) == (0, 1)


def test_a_quorum_above_all_weights():
    reals = real("10.0.1.1") + real("10.0.1.2")

    assert len(findings(quorum_unreachable, server(f"quorum 3\n{reals}"))) == 1
    assert findings(quorum_unreachable, server(f"quorum 2\n{reals}")) == ()


def test_a_weight_that_a_check_sets_is_unknown():
    dynamic = real("10.0.1.1", "weight 0\nMISC_CHECK {\nmisc_dynamic\n}\n")

    assert findings(quorum_unreachable, server(dynamic)) == ()
