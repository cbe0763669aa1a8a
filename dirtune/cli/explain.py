"""Explain one check: what it looks at, why it matters, what to do; without one, list them."""

import json

import click

from dirtune import checks
from dirtune.cli import _output
from dirtune.errors import NotPossible
from dirtune.render import catalogue


@click.command()
@click.argument("check", required=False)
@click.option("--format", type=click.Choice(["table", "json", "markdown"]), default="table")
def command(check: str | None, format: str) -> None:
    """Print the page of CHECK; without CHECK, the list of all."""
    if check is not None and (refusal := checks.no_such(check)):
        raise NotPossible(refusal)
    wanted = tuple(c for c in checks.all_checks() if check in (None, c.id))
    if format == "json":
        _output.result(json.dumps(catalogue.document(wanted), indent=2), format)
    elif check is not None:
        _output.result(catalogue.page(wanted[0]))
    elif format == "markdown":
        _output.result(catalogue.book(wanted), end="")
    else:
        _output.result(catalogue.listing(wanted))
