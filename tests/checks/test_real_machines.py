"""Every dump of the collection through the whole catalogue: findings are on cards' lines only."""

import json

import pytest

from dirtune import checks
from dirtune.checks import Severity, Status, discovery
from dirtune.collect.interrupts import parse_interrupts
from dirtune.errors import ParseError
from dirtune.snapshot import Snapshot
from tests.real import FIXTURES, index, text_of

CHECKS = discovery.all_checks()


@pytest.mark.skipif(not FIXTURES.exists(), reason="the collection of real dumps is not here")
@pytest.mark.parametrize("row", index(), ids=lambda row: row["path"].split("/")[-1])
def test_shared_lines_with_a_card_are_found_and_no_others(row):
    try:
        snapshot = Snapshot(interrupts=parse_interrupts(text_of(row)))
    except ParseError:
        assert row["mangled"] == "yes"
        return
    outcomes = {outcome.check.id: outcome for outcome in checks.run(CHECKS, snapshot)}

    found = outcomes["irq/shared-with-nic"].findings
    wanted = [line["irq"] for line in json.loads(row["truth"]) if line["nic"]]
    assert [finding.evidence["irq"] for finding in found] == wanted
    grave = {o.check.id for o in outcomes.values() if o.severity not in (None, Severity.INFO)}
    assert grave <= {"irq/shared-with-nic", "irq/xtpic-mode", "irq/single-cpu"}
    assert Status.ERROR not in {outcome.status for outcome in outcomes.values()}
