"""Options that several commands share, and options that exclude each other."""

from pathlib import Path

import click

FORMAT = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "markdown"]),
    default="table",
    help="Print the result in this format.",
)
PATH = click.Path(path_type=Path)
NEW_FOLDER = click.Path(path_type=Path, file_okay=False)
RUNS = click.option(
    "--out",
    type=NEW_FOLDER,
    default=Path("dirtune-runs"),
    metavar="DIR",
    help="Put the folder of the run below DIR.",
)


def one_of(**given: object) -> None:
    """Raise `UsageError` if several of the options *given* name a source to read."""
    names = [f"--{name}" for name, value in given.items() if value]
    if len(names) > 1:
        raise click.UsageError(
            f"{' and '.join(names)} each name a source to read. Give only one of them."
        )
