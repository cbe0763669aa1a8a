"""Print this host's netlink answers, for an audit over SSH."""

import click

from dirtune.cli import _output
from dirtune.cli._group import Command


@click.command(cls=Command)
def command() -> None:
    """Print this host's netlink answers, one path and its JSON per line."""
    from dirtune.collect import netlink
    from dirtune.host import LiveHost

    for path, answer in netlink.answers(LiveHost()).items():
        _output.answer(f"{path} {answer}")
