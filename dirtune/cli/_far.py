"""Options of commands that call a dirtune on another host."""

from collections.abc import Callable
from typing import Any

import click

from dirtune import sending
from dirtune.cli import _completion, _output
from dirtune.sending import Sending

_GIVEN = "dirtune.far"
"""The names of the options below that the command line holds, in click's `ctx.meta`."""

_ROWS = (
    ("keep", "Leave the dirtune that was sent there; the next command without --keep removes it."),
    ("no-push", "Send no dirtune to a host; use an installed one, or one that --keep left."),
    ("installed", "Use only a dirtune that is installed on the host."),
)


def host(text: str) -> Callable[[Any], Any]:
    """Return the option `--host`, whose help is *text*."""
    return click.option("--host", metavar="HOST", shell_complete=_completion.hosts, help=text)


def options(command: Any) -> Any:  # noqa: ANN401  (click's decorators take functions and commands)
    """Add --keep, --no-push and --installed, which say how dirtune gets to another host."""
    for name, text in _ROWS:
        command = click.option(
            f"--{name}", is_flag=True, expose_value=False, callback=_choose, help=text
        )(command)
    return command


def _choose(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    given: set[str] = ctx.meta.setdefault(_GIVEN, set())
    if value:
        given.add(param.name or "")
    if {"keep", "installed"} <= given:
        raise click.UsageError("--keep keeps a dirtune that was sent. Leave out --installed.", ctx)
    sending.choose(
        Sending(
            send=not given & {"no_push", "installed"},
            kept="installed" not in given,
            keep="keep" in given,
            say=_output.progress,
        )
    )
