"""The options of `lvs plan` and `lvs apply` that let keepalived set up the table."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dirtune.lvs.keepalived_text import Checker

OPTION = click.option(
    "--through",
    type=click.Choice(["keepalived"]),
    help="Write the services into a file of keepalived's configuration, and reload keepalived.",
)
CHECKER = click.option(
    "--checker",
    type=click.Choice(["none", "tcp"]),
    help="Give real servers of TCP services this health check; --through keepalived needs it.",
)


def chosen(through: str | None, checker: "Checker | None") -> "Checker | None":
    """Return the health check to write, or None if the table is set up directly."""
    if (through is None) != (checker is None):
        raise click.UsageError(
            "--through keepalived and --checker belong together: choose --checker tcp, or "
            "--checker none for real servers that always count as up."
        )
    return checker
