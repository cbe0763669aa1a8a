"""Commands and groups of commands, with examples in their help.

A docstring may contain a paragraph that begins with the line "Examples:"; help prints it as it is.
"""

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from dirtune.cli import _output
from dirtune.exit_status import CANNOT
from dirtune.nearest import no_such

_EXAMPLES = "\n\nExamples:\n"
_HELP = getattr(click.exceptions, "NoArgsIsHelpError", ())  # click 8.2
_MANY = 8
"""From this number of options on, help groups them."""
_GROUPS = {
    "Which host": """--host --inventory -i --limit --cluster --root --from --netns --diff
        --interval --role --installed --no-push --keep --become""",
    "Output": """--format --output -o --out --open --summary --fail-on -v --verbose -q --quiet
        -h --help""",
}
"""The groups of options that several commands have; options of no group come first."""


class Command(click.Command):
    """A command whose help shows examples, and groups options if there are many."""

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401  (click's own)
        super().__init__(*args, **options)
        self.help = _with_examples(self.help)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options in groups."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": [], **{g: [] for g in _GROUPS}}
        shown = [
            (param, row) for param in self.get_params(ctx) if (row := param.get_help_record(ctx))
        ]
        for param, row in shown:
            title = _group_of(param) if len(shown) >= _MANY else "Options"
            sections[title].append(row)
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


class Group(click.Group):
    """A group whose help shows examples. For a mistyped command it suggests the nearest ones."""

    command_class = Command

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401  (click's own)
        super().__init__(*args, **options)
        self.help = _with_examples(self.help)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command. If there is none, a `UsageError` names the nearest commands."""
        names = self.list_commands(ctx)
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            remedy = f"`{ctx.command_path} --help` lists them."
            raise click.UsageError(no_such("command", args[0], names, remedy))
        return super().resolve_command(ctx, args)


def _group_of(param: click.Parameter) -> str:
    titles = (title for title, names in _GROUPS.items() if {*param.opts} & {*names.split()})
    return next(titles, "Options")


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print click's errors about options as one line, and exit with status 2."""
    try:
        yield
    except click.ClickException as error:
        if isinstance(error, _HELP):  # a group without a command: click prints its help
            raise
        _output.warning(_refusal(error))
        sys.exit(CANNOT)


def _with_examples(text: str | None) -> str | None:
    """Mark the examples in a help text with a backspace, so that click does not wrap them."""
    return text and inspect.cleandoc(text).replace(_EXAMPLES, f"\n\n\b{_EXAMPLES[1:]}")


def _refusal(error: click.ClickException) -> str:
    text = error.format_message().strip()
    ctx = getattr(error, "ctx", None)
    # A plain UsageError names its remedy itself.
    if ctx is None or type(error) is click.UsageError or "Did you mean" in text:
        return text
    return f"{text.rstrip('.')}. `{ctx.command_path} --help` shows its options."
