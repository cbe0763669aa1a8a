"""The first screen of an audit fits a terminal of 24 rows, and names the next command."""

import re

import pytest

from dirtune.change.fixes import all_fixes
from dirtune.checks import Finding, Fix, Outcome, Severity, Status
from dirtune.checks.audits import Audit
from dirtune.checks.discovery import all_checks
from dirtune.render import first_screen
from dirtune.settings import KernelFile, Risk

CHECKS = {check.id: check for check in all_checks()}
COLOUR = re.compile(r"\x1b\[\d+m")
SETTING = Fix(
    "set", "Set it", Risk.SAFE, settings=(KernelFile("/proc/sys/net/ipv4/vs/conntrack", "0"),)
)
BY_HAND = Fix("move", "Move the NIC to another slot", Risk.DISRUPTIVE)


def screen(*findings, check="irq/shared-with-nic", width=80, where=()):
    outcomes = (Outcome(CHECKS[check], Status.FINDING, None, findings),)
    shown = first_screen.text(Audit({"name": "lb1"}, (), outcomes), width=width, where=where)
    return COLOUR.sub("", shown).splitlines()


def finding(subject, severity=Severity.HIGH, *fixes, message="The line is shared. " * 12):
    return Finding(subject, severity, message, {}, fixes)


@pytest.mark.parametrize("width", [80, 110])
@pytest.mark.parametrize("number", [1, 3, 7, 12, 5000])
def test_any_number_of_findings_fits_the_screen(number, width):
    rows = screen(*(finding(f"irq {n} {'x' * 10_000}") for n in range(number)), width=width)

    assert len(rows) <= 23
    assert max(map(len, rows)) <= width
    shown = sum(row.startswith("HIGH ") for row in rows)
    assert shown == number or f"... and {number - shown} high more" in "\n".join(rows)


def test_the_most_severe_findings_are_shown_first():
    few = [finding("grave", Severity.CRITICAL)]
    rows = screen(*(finding(f"irq {n}", Severity.LOW) for n in range(50)), *few)

    (first, *_) = (row for row in rows if "irq/shared-with-nic  " in row)
    assert first == "CRITICAL  irq/shared-with-nic  grave"


def test_a_short_message_is_whole_and_a_long_one_is_cut():
    short, long = finding("a", message="Short."), finding("b", message="word " * 500)

    assert "   Short." in screen(short)
    assert "..." not in "".join(screen(short))
    assert sum(row.endswith("...") for row in screen(short, long)) == 1


@pytest.mark.parametrize(
    ("findings", "where", "command"),
    [
        ([finding("a", Severity.LOW, SETTING)], (), "fix plan irq/shared-with-nic"),
        (
            [finding("a", Severity.LOW, SETTING)],
            ("--root", "my host"),
            "fix plan irq/shared-with-nic --root 'my host'",
        ),
        ([finding("a", Severity.LOW, SETTING)], None, "explain irq/shared-with-nic"),
        ([finding("a", Severity.LOW, BY_HAND)], (), "explain irq/shared-with-nic"),
        (
            [finding("a", Severity.HIGH, BY_HAND), finding("b", Severity.LOW, SETTING)],
            (),
            "fix plan irq/shared-with-nic",
        ),
    ],
)
def test_the_next_command(findings, where, command):
    assert f"Next: dirtune {command}" in screen(*findings, where=where)


def test_without_a_finding_there_is_no_next_command():
    assert not any(row.startswith("Next:") for row in screen())


def test_the_fixes_that_are_planned_without_settings():
    assert {fix.id for fix in all_fixes() if fix.checks} == first_screen.PLANNED
