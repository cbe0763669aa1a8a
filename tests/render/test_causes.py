"""A finding is shown below what explains it: the interrupt or the subject that both have."""

import pytest

from dirtune.checks import Finding, Outcome, Severity, Status
from dirtune.checks.audits import Audit
from dirtune.checks.discovery import all_checks
from dirtune.render import audit

CHECKS = {check.id: check for check in all_checks()}


def outcome(name, *findings):
    return Outcome(CHECKS[name], Status.FINDING, None, findings)


def finding(subject, cause=None, **evidence):
    return Finding(subject, Severity.LOW, f"message about {subject}", evidence, (), cause)


def tree(*outcomes):
    """Return depth, check and subject of each finding of an audit, as they are shown."""
    shown = audit.text(Audit({"name": "lb1"}, (), outcomes))
    rows = [row for row in shown.splitlines() if "LOW" in row and "/" in row]
    return [((len(row) - len(row.lstrip(" └─"))) // 3, *row.split()[-2:]) for row in rows]


@pytest.fixture(autouse=True)
def no_colours(monkeypatch):
    monkeypatch.setattr(audit.click, "style", lambda text, **_: text)


def test_each_nic_has_its_own_findings_below():
    nics = ("eth0", "eth1", "eth2")
    found = tree(
        outcome("nic/single-queue", *map(finding, nics)),
        outcome("nic/channels-low", *(finding(nic, "nic/single-queue") for nic in nics)),
    )

    assert found == [
        row for nic in nics for row in ((0, "nic/single-queue", nic), (1, "nic/channels-low", nic))
    ]


def test_a_cause_without_a_subject_in_common_is_the_first():
    found = tree(
        outcome("conntrack/table-full", finding("a"), finding("b")),
        outcome("conntrack/needless", finding("c", "conntrack/table-full")),
    )

    assert found == [
        (0, "conntrack/table-full", "a"),
        (1, "conntrack/needless", "c"),
        (0, "conntrack/table-full", "b"),
    ]


def test_an_interrupt_in_common_is_the_cause():
    on_pic = finding("x", "irq/xtpic-mode", irq="10")
    elsewhere = finding("y", "irq/xtpic-mode", irq="77")
    found = tree(
        outcome("irq/xtpic-mode", finding("pic", irqs=["9", "10"])),
        outcome("irq/shared-with-nic", on_pic, elsewhere),
        outcome("irq/wasted-isr", finding("z", "irq/shared-with-nic", irq="10")),
    )

    assert found == [
        (0, "irq/shared-with-nic", "y"),
        (0, "irq/xtpic-mode", "pic"),
        (1, "irq/shared-with-nic", "x"),
        (2, "irq/wasted-isr", "z"),
    ]
