"""Explain what one check reports, why it matters and what to do, or list all checks."""

import json

import click

from dirtune.checks import discovery
from dirtune.cli import _completion, _output
from dirtune.cli._group import Command
from dirtune.errors import NotPossible
from dirtune.render import catalogue
from dirtune.render.folded import filled


@click.command(cls=Command)
@click.argument("check", required=False, shell_complete=_completion.checks)
@click.option(
    "--format",
    type=click.Choice(["table", "json", "markdown"]),
    default="table",
    show_default=True,
    help="Print the result in this format.",
)
def command(check: str | None, format: str) -> None:
    """Explain what CHECK reports, why it matters and what to do; without CHECK, list all checks.

    Examples:
      dirtune explain
      dirtune explain irq/shared-with-nic
    """
    if check is not None and (refusal := discovery.no_such(check)):
        raise NotPossible(refusal)
    pages = tuple(c for c in discovery.all_checks() if check in (None, c.id))
    if format == "json":
        _output.result(json.dumps(catalogue.document(pages), indent=2), format)
    elif check is not None:
        _output.result(_page(catalogue.page(pages[0]), format), "text")
    elif format == "markdown":
        _output.result(catalogue.book(pages), format, end="")
    else:
        _output.result(catalogue.listing(pages))


def _page(text: str, format: str) -> str:
    """Return the page of a check; on a terminal, its paragraphs are as wide as the terminal."""
    width = _output.columns()
    return filled(text, width) if width and format == "table" else text
