"""Sources that are not what they should be: a clear reason, and the rest of the audit goes on."""

import json

import pytest
from click.testing import CliRunner

from dirtune.cli import main
from dirtune.errors import SourceMissing, SourceRefused
from dirtune.host import LiveHost

TABLE = "           CPU0\n 10:         40    XT-PIC      sym53c8xx, eth1\n"


def audit(root):
    result = CliRunner().invoke(main, ["audit", "--root", str(root), "--format", "json"])
    assert result.exit_code in {0, 1}, result.stderr
    assert "Traceback" not in result.output
    return {outcome["check"]: outcome for outcome in json.loads(result.stdout)["outcomes"]}


@pytest.fixture
def root(tmp_path):
    for name, text in {
        "interrupts": TABLE,
        "cmdline": "noapic\n",
        "stat": "cpu  1 2 3 4\n",
    }.items():
        (tmp_path / "proc").mkdir(exist_ok=True)
        (tmp_path / "proc" / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no header of CPUs"),
        (TABLE[:40].encode(), "cut off in the row of irq 10"),
        (bytes(range(256)) * 40, "no header of CPUs"),
        (b"\xff\xfe" + TABLE.encode("utf-16-le"), "no header of CPUs"),
        (b"           CPU0\n 10:         40 50   XT-PIC      eth1\n", "more counts"),
    ],
    ids=["empty", "truncated", "binary", "UTF-16", "too many"],
)
def test_a_table_that_cannot_be_read_is_skipped_with_its_reason(root, content, said):
    (root / "proc/interrupts").write_bytes(content)

    found = audit(root)

    shared = found["irq/shared-with-nic"]
    assert (shared["status"], shared["findings"]) == ("skipped", [])
    assert "/proc/interrupts" in shared["reason"]
    assert said in shared["reason"]
    assert found["irq/msi-off"]["status"] != "skipped", "the command line is still there"


def test_a_stray_byte_does_not_lose_the_file(root):
    (root / "proc/interrupts").write_bytes(TABLE.encode() + b" 11: 5 XT-PIC \xe9cran\n")

    assert [f["subject"] for f in audit(root)["irq/shared-with-nic"]["findings"]] == ["irq 10"]


def test_a_directory_where_a_file_should_be(root):
    (root / "proc/interrupts").unlink()
    (root / "proc/interrupts").mkdir()

    found = audit(root)

    assert found["irq/shared-with-nic"]["status"] == "skipped"
    assert "Is a directory" in found["irq/shared-with-nic"]["reason"]


def test_a_hundred_megabytes_that_are_no_table(root):
    row = b"x" * 99 + b"\n"
    (root / "proc/interrupts").write_bytes(row * (1 << 20))

    assert audit(root)["irq/shared-with-nic"]["status"] == "skipped"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SourceRefused("/proc/interrupts: Permission denied"), "Permission denied"),
        (SourceMissing("/proc/interrupts: not on this host"), "not on this host"),
    ],
    ids=["refused", "vanished between the listing and the reading"],
)
def test_what_cannot_be_opened_is_named(root, monkeypatch, error, said):
    read = LiveHost.read

    def refuse(host, path):
        if path == "/proc/interrupts":
            raise error
        return read(host, path)

    monkeypatch.setattr(LiveHost, "read", refuse)

    assert said in audit(root)["irq/shared-with-nic"]["reason"]


def test_a_folder_without_anything_says_so(tmp_path):
    result = CliRunner().invoke(main, ["audit", "--root", str(tmp_path)])

    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
