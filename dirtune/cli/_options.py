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
PAGE_FORMAT = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "markdown", "html"]),
    default="table",
    help="Print the result in this format; html is one page that needs no network.",
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

NETNS = click.option(
    "--netns",
    metavar="NAME|PID|PATH",
    help="Look at this network namespace of the host: a name of `ip netns` or of Docker, a "
    "process in it, or a path. Interrupts and CPUs are the host's.",
)


def enter(netns: str | None, **given: object) -> None:
    """Move this process to the network namespace *netns*, if one is given.

    Raises `UsageError` if one of the options in *given* is set: they name other hosts or records.
    """
    if netns is None:
        return
    if name := next((_spelled(name) for name, value in given.items() if value), None):
        raise click.UsageError(
            f"--netns names a namespace of this machine. Leave out {name}, or run dirtune there."
        )
    from dirtune.host import namespace

    namespace.enter(netns)


def _spelled(name: str) -> str:
    return name if name.isupper() else f"--{name}"


def one_of(**given: object) -> None:
    """Raise `UsageError` if several of the options *given* name a source to read."""
    names = [f"--{name}" for name, value in given.items() if value]
    if len(names) > 1:
        raise click.UsageError(
            f"{' and '.join(names)} each name a source to read. Give only one of them."
        )
