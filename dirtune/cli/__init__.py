"""The command line: read options, call `jobs`, print the result, choose the exit status.

Every module in this package whose name does not begin with an underscore is a command. Its object
`command` is the command, and the first line of its docstring is the line in `dirtune --help`. A
module is imported only when its command is called, which keeps `dirtune --help` fast.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from dirtune import __version__, reading
from dirtune.cli import _output
from dirtune.cli._group import Group, one_line_errors
from dirtune.errors import DirtuneError
from dirtune.exit_status import CANNOT, outermost
from dirtune.jobs import notes

_HERE = Path(__file__).parent
# These commands confirm or undo open changes, and report them themselves.
_SETTLING = ("confirm", "rollback")
# Another dirtune calls these over SSH; help does not list them.
_HIDDEN = frozenset({"netlink", "stay"})
_TASKS = {
    "Look": ("audit", "explain", "irqs", "snapshot", "watch"),
    "Measure": ("profile", "bench", "compare", "report"),
    "Change": ("fix", "lvs", "tune", "confirm", "rollback"),
    "Lab": ("lab",),
}
"""The commands by task, in the order in which help lists them; other commands follow."""


class Commands(Group):
    """A group that finds its commands by walking this package."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (click's signature)
        """Return the names of the commands that help lists."""
        return sorted({path.stem for path in _HERE.glob("[!_]*.py")} - _HIDDEN)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command; None if the name is unknown."""
        if cmd_name not in {*self.list_commands(ctx), *_HIDDEN}:
            return None
        command = importlib.import_module(f"{__name__}.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by task, without importing them."""
        names = self.list_commands(ctx)
        grouped = {name for task in _TASKS.values() for name in task}
        others = tuple(name for name in names if name not in grouped)
        for title, task in {**_TASKS, "Other commands": others}.items():
            with formatter.section(title):
                # One width for all sections, so that the descriptions are below each other.
                rows = [(f"{name:{max(map(len, names))}}", _first_line(name)) for name in task]
                formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, and warn of applied changes that must still be confirmed or undone."""
        found = super().resolve_command(ctx, args)
        if not ctx.resilient_parsing:  # not while a shell completes a line
            _say_what_is_open(settling=found[0] in _SETTLING)
        return found

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: ARG002  (click's signature)
        **extra: Any,  # noqa: ANN401
    ) -> NoReturn:
        """Run the command line and exit; click's own `main` has other exit statuses."""
        words = sys.argv[1:] if args is None else list(args)
        notes.hear(_output.progress, _output.warning)
        outermost(lambda: self._status(words, prog_name or "dirtune", complete_var, extra))

    def _status(
        self, words: list[str], name: str, complete_var: str | None, extra: dict[str, Any]
    ) -> int:
        self._main_shell_completion(extra, name, complete_var)
        try:
            with one_line_errors(), self.make_context(name, words, **extra) as ctx:
                self.invoke(ctx)
        except click.exceptions.Exit as end:
            return end.exit_code
        except click.ClickException as error:
            error.show()  # a group without a command: print its help
            return CANNOT
        return 0


def _say_what_is_open(*, settling: bool) -> None:
    folder = Path(os.environ.get("DIRTUNE_STATE") or "/var/lib/dirtune")
    # No import is needed in the usual cases; only users who may settle a journal get the warning.
    mine = os.geteuid() == 0 or os.access(folder, os.W_OK)
    if not mine or not reading.is_folder(folder) or not any(folder.glob("*.journal")):
        return
    from dirtune.change import transaction
    from dirtune.host import LiveHost

    try:
        lines = transaction.notices(transaction.place(), LiveHost(), settling=settling)
    except DirtuneError as error:
        lines = (str(error),)
    for line in lines:
        _output.warning(line)


def _first_line(name: str) -> str:
    with (_HERE / f"{name}.py").open(encoding="utf-8") as file:
        return file.readline().strip().strip('"')


_SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "show_default": True}


def _require_version(ctx: click.Context, _: click.Parameter, version: str | None) -> None:
    """Refuse to run if the calling dirtune, on another host, has another version."""
    if version not in {None, __version__}:
        raise click.UsageError(
            f"This dirtune is version {__version__}, and the dirtune that calls it is version "
            f"{version}. Install one version on both hosts.",
            ctx,
        )


@click.group("dirtune", cls=Commands, context_settings=_SETTINGS)
@click.version_option(__version__, prog_name="dirtune")
@click.option(
    "--require-version",
    metavar="VERSION",
    hidden=True,
    is_eager=True,
    expose_value=False,
    callback=_require_version,
    help="Refuse to run unless this dirtune has version VERSION.",
)
def main() -> None:
    """Profile and tune Linux IPVS directors.

    Exit status: 0 if the command succeeded and has nothing to report, 1 if it found a problem, a
    difference or a regression, 2 if it failed. After a failure, one line on standard error gives
    the cause and the remedy.

    Examples:
      dirtune audit
      dirtune explain irq/shared-with-nic
      dirtune fix plan
    """
