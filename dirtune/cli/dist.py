"""Show or build the one file that dirtune sends to other hosts."""

import click

from dirtune.cli import _output
from dirtune.cli._group import Command


@click.command(cls=Command)
@click.option("--self", "build", is_flag=True, help="Build the file from this checkout first.")
def command(build: bool) -> None:
    """Print the SHA-256 and the path of the one file that dirtune sends to other hosts.

    The file is for the kind of machine that this one is. It runs on any Linux host of that kind,
    without Python. --self runs `make dist` in the checkout from which dirtune runs, which takes
    some minutes, and installs missing packages as root.

    Exit status: 2 if there is no file of this version, or if it could not be built.

    Examples:
      dirtune dist
      dirtune dist --self
    """
    from dirtune.jobs import dist

    if build:
        dist.build()
    file = dist.found()
    _output.result(f"{file.digest}  {file.path}", "text")
