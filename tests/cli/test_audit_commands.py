"""audit, irqs, explain and snapshot on recorded hosts, as a user calls them."""

import json

import pytest
from click.testing import CliRunner

from dirtune.analyse.handlers import HandlerCalls, HandlerWindow
from dirtune.cli import _sources, main
from dirtune.errors import NodeUnreachable
from dirtune.snapshot import load

NOAPIC = """\
           CPU0       CPU1
  0:        151          0    XT-PIC      timer
  2:          0          0    XT-PIC      cascade
 10:         40          0    XT-PIC      i801_smbus, sym53c8xx, enp0s16
 24:          0          7   PCI-MSI 49152-edge      virtio1-input.0
NMI:          0          0   Non-maskable interrupts
ERR:          0
"""
SEPARATE = """\
           CPU0
 10:         40   IO-APIC  20-fasteoi   enp0s16
 11:          4   IO-APIC  21-fasteoi   i801_smbus, sym53c8xx
"""


@pytest.fixture
def root(tmp_path):
    def tree(interrupts, cmdline="quiet"):
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc/interrupts").write_text(interrupts)
        (tmp_path / "proc/cmdline").write_text(f"{cmdline}\n")
        return str(tmp_path)

    return tree


def call(*argv):
    return CliRunner().invoke(main, argv)


def found(document):
    return {o["check"]: o["findings"] for o in document["outcomes"] if o["status"] == "finding"}


def test_the_pic_with_the_shared_line_under_it(root):
    result = call("audit", "--root", root(NOAPIC, "quiet noapic"), "--format", "json")
    document = json.loads(result.output)

    assert result.exit_code == 1
    assert document["schema"] == "dirtune/audit/1"
    assert set(found(document)) == {"irq/xtpic-mode", "irq/shared-with-nic"}
    (shared,) = found(document)["irq/shared-with-nic"]
    assert shared["cause"] == "irq/xtpic-mode"
    assert shared["evidence"]["irq"] == "10"
    assert shared["evidence"]["actions"] == ["i801_smbus", "sym53c8xx", "enp0s16"]
    assert document["summary"]["high"] == 2
    assert sum(document["summary"].values()) == 7
    undecided = [o for o in document["outcomes"] if o["status"] not in ("finding", "passed")]
    assert all(o["reason"] for o in undecided)


def test_the_text_says_each_thing_once_and_the_cause_first(root):
    rows = call("audit", "--root", root(NOAPIC, "quiet noapic")).output.splitlines()
    titles = [row for row in rows if "irq/" in row and "HIGH" in row]

    assert titles == ["HIGH  irq/xtpic-mode  irq 10", "└─ HIGH  irq/shared-with-nic  irq 10"]
    assert sum("$ dirtune fix apply irq/xtpic-mode" in row for row in rows) == 1
    assert max(map(len, rows)) <= 110
    assert rows[-1] == "2 high · 2 passed, 2 skipped, 1 inconclusive"


def test_separate_lines_have_no_finding(root):
    result = call("audit", "--root", root(SEPARATE), "--format", "json")

    assert result.exit_code == 0
    assert found(json.loads(result.output)) == {}


def test_markdown_nests_as_the_text_does(root):
    output = call("audit", "--root", root(NOAPIC), "--format", "markdown").output

    assert "## high: irq/xtpic-mode, irq 10" in output
    assert "### high: irq/shared-with-nic, irq 10" in output


@pytest.mark.parametrize(("fail_on", "status"), [("critical", 0), ("high", 1), ("info", 1)])
def test_fail_on_decides_the_exit_status(root, fail_on, status):
    assert call("audit", "--root", root(NOAPIC), "--fail-on", fail_on).exit_code == status


def test_checks_are_selected_by_prefix(root):
    tree = root(NOAPIC)
    chosen = call("audit", "--root", tree, "--select", "irq/x", "--format", "json")

    assert [o["check"] for o in json.loads(chosen.output)["outcomes"]] == ["irq/xtpic-mode"]
    assert call("audit", "--root", tree, "--select", "nonsense").exit_code == 2


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("audit", "--root", "/nonexistent"), "/nonexistent: no such folder"),
        (("audit", "--from", "/nonexistent.tgz"), "no such file"),
        (("audit", "--root", "{root}", "--probe"), "--probe measures a live host"),
        (("irqs", "--root", "{empty}"), "/proc/interrupts"),
        (("audit", "--root", "{empty}"), "nothing in it"),
        (("audit", "--host", "@/nonexistent"), "/nonexistent"),
        (("explain", "irq/nonsense"), "irq/nonsense: no such check"),
        (("snapshot", "-o", "/nonexistent/a.tgz", "--interval", "0"), "/nonexistent/a.tgz"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_status_2(root, tmp_path, argv, said):
    (tmp_path / "empty").mkdir()
    folders = {"root": root(NOAPIC), "empty": str(tmp_path / "empty")}

    result = call(*(word.format(**folders) for word in argv))

    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert said in result.output


def test_irqs_as_the_contract_has_them(root):
    document = json.loads(call("irqs", "--root", root(NOAPIC), "--format", "json").output)
    lines = {line["irq"]: line for line in document["lines"]}

    assert document["schema"] == "dirtune/irqs/1"
    assert document["cpus"] == [0, 1]
    assert list(lines) == ["0", "2", "10", "24", "NMI", "ERR"]
    wanted = {
        "irq": "10",
        "chip": "XT-PIC",
        "actions": ["i801_smbus", "sym53c8xx", "enp0s16"],
        "counts": [40, 0],
        "total": 40,
        "shared": True,
        "nic": True,
    }
    assert wanted.items() <= lines["10"].items()
    assert (lines["24"]["nic"], lines["24"]["shared"]) == (True, False)
    assert (lines["NMI"]["chip"], lines["NMI"]["actions"]) == (None, [])
    assert "handlers" not in document


def test_the_table_marks_shared_lines(root):
    rows = call("irqs", "--root", root(NOAPIC)).output.splitlines()

    assert next(row.split()[:3] for row in rows if "shared" in row) == ["NIC", "shared", "10"]
    assert rows[-1] == "4 lines on 2 CPUs, 1 shared, 1 of them with a network card"


@pytest.fixture
def probed(monkeypatch):
    """This machine's own table, and a window of the probe made by hand."""
    window = HandlerWindow(
        5.0, (HandlerCalls(0, "timer", 7, 0, 0, 7000, 0, 1000),), {"0": 7}, load_seconds=1.0
    )
    monkeypatch.setattr(_sources, "probed", lambda *_: window)


@pytest.mark.usefixtures("probed")
def test_a_probed_table_carries_the_handlers():
    result = call("irqs", "--probe=5", "--interval", "0", "--format", "json")

    handlers = json.loads(result.output)["handlers"]
    assert handlers["seconds"] == 5.0
    assert handlers["handlers"][0]["handler"] == "timer"


def test_what_is_recorded_can_be_audited(tmp_path):
    archive = str(tmp_path / "a.tgz")
    made = call("snapshot", "-o", archive, "--interval", "0.01")
    result = call("audit", "--from", archive, "--format", "json")

    assert made.exit_code == 0
    assert json.loads(result.output)["host"]["samples"] == 2


def test_several_hosts_and_one_that_cannot_be_reached(tmp_path, monkeypatch):
    archive = tmp_path / "a.tgz"
    call("snapshot", "-o", str(archive), "--interval", "0.01")

    def samples(source):
        if source.host == "gone":
            raise NodeUnreachable("gone: no route to host")
        return load(archive)

    monkeypatch.setattr(_sources, "samples", samples)
    (tmp_path / "hosts").write_text("# ours\ngone\nlb2\n")
    result = CliRunner().invoke(
        main, ["audit", "--host", "lb1", "--host", f"@{tmp_path}/hosts", "--format", "json"]
    )
    document = json.loads(result.stdout)

    assert result.exit_code == 2
    assert document["schema"] == "dirtune/audits/1"
    assert [audit["host"]["name"] for audit in document["audits"]] == ["lb1", "lb2"]
    assert document["unreachable"] == [{"host": "gone", "reason": "gone: no route to host"}]


def test_explain_lists_and_tells():
    assert "irq/shared-with-nic" in call("explain").output
    page = call("explain", "irq/shared-with-nic").output
    assert page.startswith("# irq/shared-with-nic\n")
    assert "## Why it matters" in page
    listed = json.loads(call("explain", "--format", "json").output)
    assert {"id", "severity", "trust", "title", "page"} == set(listed["checks"][0])
