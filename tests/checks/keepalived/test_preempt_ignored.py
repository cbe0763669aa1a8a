from dirtune.checks import Severity, Status
from dirtune.checks.keepalived.preempt_ignored import preempt_ignored
from tests.checks.keepalived.directors import findings, instance, outcome


def test_a_host_without_keepalived_has_nothing_to_judge():
    assert outcome(preempt_ignored, None).status is Status.NOT_APPLICABLE


def test_nopreempt_of_a_master():
    (finding,) = findings(preempt_ignored, instance("state MASTER\nnopreempt"))

    assert (finding.severity, finding.subject) == (Severity.MEDIUM, "A")
    assert "because its state is MASTER" in finding.message


def test_nopreempt_of_an_owner():
    (finding,) = findings(preempt_ignored, instance("priority 255\nnopreempt"))

    assert "because its priority is 255" in finding.message


def test_nopreempt_of_a_backup_and_a_master_that_preempts():
    text = instance("state BACKUP\nnopreempt") + instance("state MASTER", "B")

    assert findings(preempt_ignored, text) == ()
