"""Nothing says that all is well where nothing, or little, could be looked at."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from dirtune import checks
from dirtune.checks import Cause
from dirtune.cli import main
from dirtune.render.overview import undecided
from tests.render.inputs import ELSEWHERE, IDLE, PASSED, UNREAD

TABLE = "           CPU0\n 10:         40    XT-PIC      sym53c8xx, eth1\n"
QUIET = "           CPU0\n 10:         40    XT-PIC      eth1\n"
# The checks are counted in the source, so that a check that discovery misses fails the tests.
TOTAL = sum(
    len(re.findall(r"^@(?:cross_)?check\b", path.read_text(), re.MULTILINE))
    for path in Path(checks.__file__).parent.glob("*/*.py")
)
CLEAR = ("no problem", "nothing found", "nothing to do", "all is well")


def run(*words):
    return CliRunner().invoke(main, list(words))


def refused(*words):
    """Return the one line that says why a command could not be done."""
    done = run(*words)
    assert (done.exit_code, done.stdout) == (2, ""), (done.output, done.exception)
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix("dirtune: ").strip()


@pytest.fixture
def tree(tmp_path):
    """Return a function that records a host of one file."""

    def made(table):
        (tmp_path / "host/proc").mkdir(parents=True)
        (tmp_path / "host/proc/interrupts").write_text(table)
        return str(tmp_path / "host")

    return made


COMMANDS = (("audit",), ("fix", "plan"), ("fix", "plan", "irq/msi-off"), ("irqs",))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("folders", [(), ("proc", "sys", "etc"), ("share/doc", "bin")], ids=len)
def test_a_folder_that_records_no_host_is_refused(tmp_path, command, folders):
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)

    assert str(tmp_path) in refused(*command, "--root", str(tmp_path))


@pytest.mark.parametrize("command", COMMANDS[:2], ids=" ".join)
def test_a_folder_too_deep_names_the_right_one(tree, command):
    root = tree(TABLE)

    assert f"Name the folder that holds proc and sys: {root}." in refused(
        *command, "--root", f"{root}/proc"
    )


def test_an_unpacked_snapshot_names_the_sample_to_take(tmp_path, tree):
    shutil.copytree(tree(TABLE), tmp_path / "unpacked/1")
    (tmp_path / "unpacked/meta.json").write_text("{}")

    text = refused("audit", "--root", f"{tmp_path}/unpacked")
    assert f"This is an unpacked snapshot: name {tmp_path}/unpacked/1." in text


def test_one_file_of_a_host_is_enough_and_the_rest_is_open(tree):
    done = run("audit", "--root", tree(TABLE))

    assert done.exit_code == 1
    first = done.stdout.partition("host · one sample")[0].replace("\n", " ")
    # Three checks read only interrupts, and two do not apply to a director.
    start = f"recorded host: {TOTAL - 5} of {TOTAL} checks could not be decided ("
    assert first.startswith(start)
    assert "found 2 problems, the most severe is high." in first


@pytest.mark.parametrize("form", ["table", "markdown"])
def test_no_format_clears_what_could_not_be_decided(tree, form):
    done = run("audit", "--root", tree(QUIET), "--format", form)

    assert done.exit_code == 1  # the PIC
    assert f" of {TOTAL} checks could not be decided (" in done.stdout[:200]
    assert not any(word in done.stdout.lower() for word in CLEAR)


def test_metrics_count_the_undecided(tree):
    done = run("audit", "--root", tree(QUIET), "--format", "prometheus")

    rows = dict(row.rsplit(" ", 1) for row in done.stdout.splitlines() if row[:1] != "#")
    skipped = rows['dirtune_audit_checks{host="recorded host",status="skipped"}']
    passed = rows['dirtune_audit_checks{host="recorded host",status="passed"}']
    assert float(skipped) > 80
    assert float(passed) < 5


def test_a_plan_of_little_is_not_nothing_to_do(tree):
    root = tree("           CPU0\n 10:         40    IO-APIC  10-edge   eth1\n")

    for form in ("table", "markdown"):
        done = run("fix", "plan", "--root", root, "--format", form)
        assert done.exit_code == 0
        assert "could not be decided" in done.stdout
        assert not any(word in done.stdout for word in CLEAR)
    done = run("fix", "plan", "--root", root, "--format", "json")
    assert json.loads(done.stdout)["changes"] == []
    assert "could not be decided" in done.stderr


def test_a_plan_names_what_is_for_a_person(tree):
    done = run("fix", "plan", "--root", tree(QUIET))

    assert "Fix these by hand: irq/xtpic-mode. `dirtune audit` explains how." in done.stdout


def test_a_difference_says_what_it_did_not_see(tree):
    root = tree(TABLE)
    done = run("audit", "--diff", root, root)

    assert done.exit_code == 0
    compared, not_compared = done.stdout.split(". ", 1)
    assert "no difference" in compared
    assert "interrupt" in compared
    assert "not compared: kern" in not_compared
    document = json.loads(run("audit", "--diff", root, root, "--format", "json").stdout)
    assert "sysctl" in document["unknown"]


def test_hosts_that_tell_nothing_in_common_are_not_alike(tree, tmp_path):
    (tmp_path / "other/proc").mkdir(parents=True)
    (tmp_path / "other/proc/cmdline").write_text("quiet\n")

    assert "cannot be compared" in refused("audit", "--diff", tree(TABLE), str(tmp_path / "other"))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("audit", "--select", "irc"), "--select: No such check: irc. Did you mean nic/ or irq/?"),
        (("audit", "--ignore", "irq/shard"), "irq/shard. Did you mean irq/"),
        (("audit", "--ignore", ""), "--ignore: No such check: (no name)."),
        (("audit", "--select", ""), "--select: No such check: (no name)."),
        (("audit", "--select", "irq", "--ignore", "irq"), "leave no check to run"),
        (
            ("explain", "irq/shared"),
            "No such check: irq/shared. Did you mean irq/shared-with-nic?",
        ),
        (("fix", "plan", "irq/shared"), "irq/shared. Did you mean irq/shared-with-nic?"),
        (("fix", "apply", "irq/shared"), "irq/shared. Did you mean irq/shared-with-nic?"),
        (("fix", "verify", "irq/shared"), "irq/shared. Did you mean irq/shared-with-nic?"),
        (("tune", "--check", "irq/shared", "x.toml"), "Did you mean irq/shared-with-nic?"),
        (("audti",), "No such command: audti. Did you mean audit?"),
        (("fix", "plann"), "No such command: plann. Did you mean plan?"),
        (("lvs", "shwo"), "No such command: shwo. Did you mean show?"),
        (("lab", "zzz"), "No such command: zzz. `dirtune lab --help` lists them."),
        (("audit", "--rot", "/"), "--root"),
    ],
)
def test_a_name_that_there_is_not_is_refused_with_the_nearest(monkeypatch, words, text):
    monkeypatch.setattr("os.geteuid", lambda: 0)

    assert text in refused(*words)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            'check = "irq/shared"',
            "waivers[0].check: No such check: irq/shared. Did you mean",
        ),
        ('check = "irq/msi-off"\nsubjekt = "x"', "unknown field `subjekt`"),
    ],
)
def test_a_waiver_of_nothing_is_refused(tree, tmp_path, text, problem):
    config = tmp_path / "dirtune.toml"
    config.write_text(f'[[waivers]]\n{text}\nreason = "r"\nexpires = 2999-01-01\n')

    assert problem in refused("audit", "--root", tree(TABLE), "--config", str(config))


def test_a_table_that_nobody_reads_is_refused(tree, tmp_path):
    (tmp_path / "dirtune.toml").write_text("[[waiver]]\n")

    text = refused("audit", "--root", tree(TABLE), "--config", f"{tmp_path}/dirtune.toml")
    assert "unknown field `waiver`" in text


def test_a_baseline_of_another_version_counts_and_says_what_is_gone(tree, tmp_path):
    root = tree(TABLE)
    document = json.loads(run("audit", "--root", root, "--format", "json").stdout)
    document["outcomes"].append({"check": "irq/of-old", "findings": [{"subject": "irq 1"}]})
    (tmp_path / "base.json").write_text(json.dumps(document))

    done = run("audit", "--root", root, "--baseline", f"{tmp_path}/base.json")

    assert done.exit_code == 0
    assert "names checks that this version of dirtune lacks: irq/of-old\n" in done.stderr
    assert "found no new problem." in done.stdout.replace("\n", " ")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "dirtune/irqs/1"}', "<html>"])
def test_a_baseline_that_is_none_is_refused(tree, tmp_path, text):
    (tmp_path / "base.json").write_text(text)

    assert "base.json" in refused(
        "audit", "--root", tree(TABLE), "--baseline", f"{tmp_path}/base.json"
    )


@pytest.mark.parametrize("content", [b"", b"no archive", bytes(2048)])
def test_an_archive_of_nothing_is_refused(tmp_path, content):
    (tmp_path / "a.tgz").write_bytes(content)

    for command in ("audit", "irqs"):
        assert "a.tgz" in refused(command, "--from", f"{tmp_path}/a.tgz")


def test_a_plan_names_every_check_that_was_not_decided():
    assert undecided([PASSED, ELSEWHERE]) is None
    assert undecided([PASSED, PASSED, IDLE]) == (
        "1 of 3 checks could not be decided (1 for too little traffic)"
    )
    assert undecided([PASSED, IDLE, UNREAD]) == (
        "2 of 3 checks could not be decided (1 for too little traffic, 1 not readable)"
    )


def test_the_words_of_a_reason_decide_nothing():
    reworded = [dataclasses.replace(outcome, reason="--probe") for outcome in (IDLE, UNREAD)]

    assert undecided(reworded) == undecided([IDLE, UNREAD])
    assert undecided([dataclasses.replace(IDLE, cause=Cause.UNCLEAR)]) == (
        "1 of 1 check could not be decided (1 for other reasons)"
    )


def test_a_home_that_may_not_be_looked_into_has_no_waivers(tree, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    root = tree(TABLE)
    monkeypatch.setattr("pathlib.Path.exists", refuse)

    assert run("audit", "--root", root).exit_code == 1
