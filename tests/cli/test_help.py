"""Which commands a person is shown: in help, as suggestions, by completion."""

import re
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

import dirtune
from dirtune.cli import main

ROOT = Path(dirtune.__file__).parents[1]
MODULES = {path.stem for path in (ROOT / "dirtune/cli").glob("[!_]*.py")}
ROWS = [row for row in (ROOT / "README.md").read_text().splitlines() if row.startswith("| `dir")]
DOCUMENTED = {
    name.removeprefix("dirtune ")
    for row in ROWS
    for name in re.findall(r"`([^`]+)`", row.split("|")[1])
}
HIDDEN = sorted(MODULES - DOCUMENTED)


def call(*words):
    return CliRunner().invoke(main, words)


def test_help_lists_the_commands_that_the_readme_documents():
    listed = call("--help").output.partition("Commands:")[2]

    assert set(re.findall(r"^  (\S+)", listed, re.MULTILINE)) == DOCUMENTED


@pytest.mark.parametrize("name", HIDDEN)
def test_what_is_for_another_dirtune_works_and_is_suggested_to_nobody(name):
    completed = ShellComplete(main, {}, "dirtune", "_DIRTUNE_COMPLETE").get_completions([], "")

    assert call(name, "--help").exit_code == 0
    assert f"Did you mean {name}" not in call(f"{name}s").stderr
    assert name not in {each.value for each in completed}
    assert "audit" in {each.value for each in completed}


def test_something_is_hidden():
    assert HIDDEN == ["netlink"]
