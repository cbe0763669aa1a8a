"""Run commands of a dirtune on another host, one after another."""

import importlib

import click

from dirtune.cli import _output
from dirtune.cli._group import Command

_NEEDED = (
    *("dirtune.cli.confirm", "dirtune.cli.fix", "dirtune.cli.rollback"),
    *("dirtune.change.again", "dirtune.change.overdue", "dirtune.change.transaction"),
    *("dirtune.change.watchdog", "dirtune.render.plan"),
)
"""The modules that the commands import when they are called, except for `fix apply`."""


@click.command(cls=Command)
def command() -> None:
    """Run commands of a dirtune on another host, one after another.

    Each line of the input is one command line, as a JSON array of its arguments. Each line of the
    output is the result of one command. The command ends with its input.
    """
    from dirtune.cli import main
    from dirtune.jobs import staying

    for name in _NEEDED:
        importlib.import_module(name)

    staying.serve(lambda words: main.main(words, "dirtune"), _output.answer)
