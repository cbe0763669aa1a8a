"""Print what only netlink tells of this host, for an audit over SSH."""

import click

from dirtune.cli import _output
from dirtune.cli._group import Command


@click.command(cls=Command)
def command() -> None:
    """Print what only netlink tells of this host: a path and its JSON a line."""
    from dirtune.collect import netlink
    from dirtune.host import LiveHost

    for path, answer in netlink.answers(LiveHost()).items():
        _output.result(f"{path} {answer}", "json")
