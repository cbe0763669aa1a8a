"""The audit in a run may be anything that JSON can hold: a run may come from anybody."""

import msgspec
import pytest

from dirtune.bench import store
from dirtune.errors import ParseError
from dirtune.render import report
from dirtune.render.report_handlers import lines_of_interest

GOOD = {"severity": "low", "subject": "s", "message": "m"}


def with_findings(*findings):
    audit = {"outcomes": [{"check": "a/b", "findings": findings}]}
    return msgspec.structs.replace(store.example("paper"), audits={"before": audit})


@pytest.mark.parametrize(
    "wrong", [{"severity": "evil"}, {"subject": ["x"]}, {"fixes": 7}, {"fixes": [{}]}]
)
def test_another_audit_is_one_line(wrong):
    with pytest.raises(ParseError, match=r"^The audit in run\.json"):
        report.markdown(with_findings(GOOD | wrong))


def test_outcomes_that_are_no_list_are_one_line():
    run = msgspec.structs.replace(store.example("paper"), audits={"before": {"outcomes": "xy"}})
    with pytest.raises(ParseError, match=r"^The audit in run\.json"):
        report.markdown(run)


@pytest.mark.parametrize("irq", ["\u00b2", "9" * 5000, -1, None, [7]])
def test_evidence_that_names_no_line_is_left_out(irq):
    finding = GOOD | {"evidence": {"irq": irq, "irqs": 5}}
    assert lines_of_interest(with_findings(finding)) == frozenset()


def test_evidence_names_its_lines():
    finding = GOOD | {"evidence": {"irq": "10", "irqs": ["11", "eth0"]}}
    assert lines_of_interest(with_findings(finding)) == {10, 11}
