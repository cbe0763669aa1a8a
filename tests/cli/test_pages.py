"""`--format html` of audit and compare: one page, made from recorded data."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from dirtune.cli import audit, main

pytest.importorskip("dirtune.render.report", reason="needs the extra `report`")
pytest.importorskip("scipy", reason="compare needs the extra `bench`")

ROOT = Path(__file__).parents[2]
AUDIT = ("audit", "--from", str(ROOT / "docs/examples/lb1.tar.gz"), "--format", "html")


def call(*words):
    return CliRunner().invoke(main, words)


def test_the_page_of_a_host_begins_with_the_gravest_finding():
    result = call(*AUDIT)
    first, _, evidence = result.stdout.partition(">Evidence<")

    assert result.exit_code == 1
    assert "<h1>Audit of lb1</h1>" in first
    assert "because the kernel was booted with noapic." in first
    assert "<code>dirtune explain irq/xtpic-mode\n" in first
    assert "irq/shared-with-nic: irq 10" in evidence
    assert "Its cause is irq/xtpic-mode." in evidence


def test_the_fixes_of_a_finding_are_copied_one_by_one():
    """One button must not copy the reboot of one fix together with the commands of another."""
    page = call(*AUDIT).stdout
    blocks = [block.partition("</code>")[0] for block in page.split("<code>")[1:]]

    assert any("/unbind" in block for block in blocks)
    assert not any("/unbind" in block and "reboot" in block for block in blocks)


def test_the_page_is_written_into_the_file_that_output_names(tmp_path):
    result = call(*AUDIT, "--output", str(tmp_path / "lb1.html"))

    assert result.stdout == ""
    assert (tmp_path / "lb1.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("hosts", "wish", "summary"),
    [
        ((), None, False),
        (("a",), None, False),
        (("a", "b"), None, True),
        (("@hosts",), None, True),
        (("a", "b"), False, False),
        (("a",), True, True),
    ],
)
def test_several_hosts_make_a_summary_unless_each_is_asked_for(hosts, wish, summary):
    assert audit._as_summary((), None, wish, "html", None, hosts) is summary


def test_the_page_of_a_comparison_has_its_charts():
    result = call("compare", str(ROOT / "reports/crowded-line"), "--format", "html")

    assert result.exit_code == 0
    assert '<p class="verdict improved">' in result.stdout
    assert {f'data-chart="{name}"' in result.stdout for name in ("ratio", "pairs")} == {True}
