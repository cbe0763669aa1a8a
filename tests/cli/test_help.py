"""Which commands a person is shown: in help, as suggestions, by completion."""

import re
import shlex
from pathlib import Path

import click
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
    listed = call("--help").output.partition("Look:")[2]

    assert set(re.findall(r"^  (\S+)", listed, re.MULTILINE)) == DOCUMENTED


def test_help_lists_each_command_once_by_task():
    listed = re.findall(r"^(?:  (\S+)|(\S.*):)", call("--help").output, re.MULTILINE)
    titles = [title for _, title in listed if title]
    commands = [name for name, _ in listed if name in MODULES]

    assert titles[-5:] == ["Look", "Measure", "Change", "Lab", "Other commands"]
    assert sorted(commands) == sorted(DOCUMENTED)


def test_help_groups_the_options_of_a_command_that_has_many():
    text = call("audit", "--help").output
    which = text.partition("\nWhich host:\n")[2].partition("\n\n")[0]
    output = text.partition("\nOutput:\n")[2]

    assert "  --root DIR " in which
    assert "  --format " in output
    assert "  --select PREFIX " in text.partition("\nOptions:\n")[2].partition("\n\n")[0]
    assert "\nOutput:\n" not in call("explain", "--help").output


@pytest.mark.parametrize("name", HIDDEN)
def test_what_is_for_another_dirtune_works_and_is_suggested_to_nobody(name):
    completed = ShellComplete(main, {}, "dirtune", "_DIRTUNE_COMPLETE").get_completions([], "")

    assert call(name, "--help").exit_code == 0
    assert f"Did you mean {name}" not in call(f"{name}s").stderr
    assert name not in {each.value for each in completed}
    assert "audit" in {each.value for each in completed}


def leaves(command, words=()):
    """Yield every command that is no group, and is shown to people, with its words."""
    if not isinstance(command, click.Group):
        yield words, command
        return
    with click.Context(command) as context:
        for name in command.list_commands(context):
            yield from leaves(command.get_command(context, name), (*words, name))


LEAVES = dict(leaves(main))


def examples(*words):
    """Return the rows that help shows below "Examples:"."""
    rows = call(*words, "--help").output.partition("Examples:\n")[2].split("\n\n")[0]
    return [shlex.split(row) for row in rows.splitlines()]


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_every_command_has_examples_that_it_can_read(words):
    shown = examples(*words)

    assert shown, "its docstring has no paragraph that begins with Examples:"
    for program, *given in shown:
        assert (program, given[: len(words)]) == ("dirtune", [*words])
        context = click.Context(LEAVES[words])
        LEAVES[words].make_parser(context).parse_args(given[len(words) :])


def test_an_example_is_shown_as_it_is_written():
    assert examples("irqs") == [
        ["dirtune", "irqs"],
        ["dirtune", "irqs", "--probe", "10"],
        ["dirtune", "irqs", "--host", "lb1", "--format", "json"],
    ]


def test_something_is_hidden():
    assert HIDDEN == ["netlink", "stay"]


def test_completion_reads_no_journal_and_prints_no_warning(tmp_path, monkeypatch, capfd):
    """A warning would be written into the line that is being typed."""
    tmp_path.chmod(0o700)
    (tmp_path / "000001-x.journal").write_text("garbage\n")
    monkeypatch.setenv("DIRTUNE_STATE", str(tmp_path))

    options = ShellComplete(main, {}, "dirtune", "_C").get_completions(["audit"], "--format")

    assert [option.value for option in options] == ["--format"]
    assert capfd.readouterr().err == ""
