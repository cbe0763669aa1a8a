"""Sources that are not what they should be: a clear reason, and the rest of the audit goes on."""

import json

import pytest
from click.testing import CliRunner

from dirtune.cli import main
from dirtune.errors import SourceMissing, SourceRefused
from dirtune.host import LiveHost
from dirtune.jobs.snapshots import hosts_in
from dirtune.probes.session import Session

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
        (b"", "header"),
        (TABLE[:40].encode(), "cut off in the row of irq 10"),
        (bytes(range(256)) * 40, "header"),
        (b"\xff\xfe" + TABLE.encode("utf-16-le"), "header"),
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


def refused(*argv):
    """Return the line that says why a command could not be done."""
    result = CliRunner().invoke(main, argv)
    assert result.exit_code == 2, (result.output, result.exception)
    assert result.stdout == ""
    return result.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("content", ["", "\n", "# one\n   # two\n"])
def test_a_list_without_hosts_is_not_this_host(tmp_path, content):
    (tmp_path / "hosts").write_text(content)

    assert "hosts names no host" in refused("audit", "--host", f"@{tmp_path}/hosts")


def test_a_list_that_is_no_text(tmp_path):
    (tmp_path / "hosts").write_bytes(bytes(range(256)))

    assert "hosts is not a text file" in refused("audit", "--host", f"@{tmp_path}/hosts")


def test_comments_are_no_part_of_a_host(tmp_path):
    (tmp_path / "hosts").write_text("# the pair\nlb1  # first\n\tlb2\t#second\nlb#3\nlb1\n")

    assert hosts_in((f"@{tmp_path}/hosts", "lb4")) == ("lb1", "lb2", "lb#3", "lb4")


@pytest.mark.parametrize("number", ["-1", "nan", "inf"])
@pytest.mark.parametrize(
    "words",
    [
        ("audit", "--interval"),
        ("audit", "--probe"),
        ("irqs", "--interval"),
        ("irqs", "--probe"),
        ("snapshot", "-o", "/nonexistent/a.tgz", "--interval"),
        ("profile", "--probes", "none", "--duration"),
        ("profile", "--probes", "none", "--duration", "1", "--max-overhead"),
    ],
)
def test_a_number_that_is_none_is_refused(words, number):
    *words, option = words

    assert refused(*words, f"{option}={number}").startswith("dirtune: ")


@pytest.mark.parametrize(
    "words",
    [
        ("audit", "--root", "/nonexistent", "--from", "a.tgz"),
        ("audit", "--root", "/nonexistent", "--host", "lb1"),
        ("audit", "--diff", "a", "b", "--from", "a.tgz"),
        ("audit", "--cluster", "dirtune.toml", "--root", "/nonexistent"),
        ("irqs", "--root", "/nonexistent", "--from", "a.tgz"),
        ("irqs", "--host", "lb1", "--from", "a.tgz"),
        ("profile", "--duration", "1", "--during-bench"),
        ("profile", "--during-bench", "dirtune.toml", "--", "true"),
    ],
)
def test_two_things_to_read_are_refused(words):
    assert "--" in refused(*words)


@pytest.mark.parametrize(
    ("script", "status", "said"),
    [
        ("sleep 1.2; exit 3", 3, "sh failed with exit status 3"),
        ("sleep 1.2; kill -9 $$", -9, "sh was ended by signal 9"),
    ],
)
def test_a_profiled_command_that_failed_is_told(script, status, said):
    result = CliRunner().invoke(
        main, ["profile", "--probes", "none", "--format", "json", "--", "sh", "-c", script]
    )

    assert result.exit_code == 2
    assert json.loads(result.stdout)["command_status"] == status
    assert f"dirtune: {said}" in result.stderr


@pytest.mark.parametrize("words", [(), ("--duration", "1")], ids=["ends well", "outlives it"])
def test_a_profiled_command_that_did_not_fail(words):
    command = ("--", "sleep", "3" if words else "1.2")
    result = CliRunner().invoke(main, ["profile", "--probes", "none", *words, *command])

    assert result.exit_code == 0, result.output


def test_an_overhead_of_nothing_detaches_every_probe_and_no_more():
    """A budget below what nothing costs has no most expensive probe to detach."""
    session = Session(LiveHost(), [], (), -1.0, counted=True)

    session.keep_within_budget()

    assert session.finish().costs == ()
