"""Fix what the audit found on this host, and take it back if it is not kept."""

import sys
from pathlib import Path

import click

from dirtune.cli import _output
from dirtune.cli._amount import SECONDS
from dirtune.cli._group import Group
from dirtune.jobs.root import require_root
from dirtune.render import cells

_FORMAT = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "markdown"]),
    default="table",
    show_default=True,
)
_CHECKS = click.argument("checks", nargs=-1, metavar="[CHECK[/FIX]]...")


@click.group(cls=Group)
def command() -> None:
    """Fix what the audit found on this host, and take it back if it is not kept.

    Without CHECK: the fixes of everything the audit finds. With it, the first fix of each finding
    that dirtune can make, or the one called FIX.
    """


@command.command()
@_CHECKS
@click.option("--root", type=click.Path(path_type=Path), help="Plan for a recorded host.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write it as a script, and files of sysctl.d, modprobe.d, udev and systemd.",
)
@_FORMAT
def plan(checks: tuple[str, ...], root: Path | None, output: Path | None, form: str) -> None:
    """Say what would be done, with the same in shell commands. Changes nothing."""
    from dirtune.host import LiveHost
    from dirtune.jobs import fixes, snapshots
    from dirtune.render import plan as render

    host = LiveHost() if root is None else snapshots.tree(root)
    made = fixes.make(host, fixes.Wish(checks, root))
    texts = {"json": render.plan_json, "markdown": render.plan_markdown}
    _output.result(texts.get(form, render.plan_table)(made.plan, made.notes), form)
    _warn(made.notes, form)
    for path in fixes.write(output, made) if output else ():
        _output.progress(f"  {path}")


@command.command()
@_CHECKS
@click.option(
    "--confirm",
    "confirm_s",
    type=SECONDS,
    metavar="SECONDS",
    help="Take it back unless confirmed in time; 0 keeps it. [default: 120 if disruptive]",
)
@click.option("--persist", is_flag=True, help="Keep it over a reboot, once it is confirmed.")
@click.option(
    "--force",
    multiple=True,
    metavar="REASON",
    help="Do what is refused by that name, for each one; NAME=WHY keeps why in the journal. "
    "Where only one thing is refused, any words are why.",
)
@_FORMAT
def apply(
    checks: tuple[str, ...],
    confirm_s: float | None,
    persist: bool,
    force: tuple[str, ...],
    form: str,
) -> None:
    """Carry out the fixes of CHECK; without CHECK, every fix that is safe."""
    from dirtune.change import transaction
    from dirtune.host import WritableHost
    from dirtune.jobs import fixes
    from dirtune.render import plan as render

    require_root("fix apply")
    host = WritableHost()
    made = fixes.make(host, fixes.Wish(checks, force=force, safe=not checks))
    fixes.refuse_nothing_but_refusals(made.plan)
    chosen = made.kept if persist else made.plan
    seconds = fixes.confirm_s(chosen, confirm_s)
    journal = None
    if chosen.changes:
        at = transaction.place()
        journal = transaction.carry_out(chosen, host, at, confirm_s=seconds, forced=made.forced)
    text = render.applied_json if form == "json" else render.applied_table
    shown = text(chosen, journal, seconds, made.left_out, made.notes)
    _output.result(cells.block(shown, form), form)
    _warn(made.notes, form)


def _warn(notes: tuple[str, ...], form: str) -> None:
    for note in notes if form == "json" else ():  # its shape has no place for them
        _output.warning(note)


@command.command()
@_CHECKS
@_FORMAT
def verify(checks: tuple[str, ...], form: str) -> None:
    """Read back whether what was fixed still has its effect; exit status 1 if not.

    A journal that cannot be read, or was made in another network namespace, counts as an effect
    that is gone.
    """
    from dirtune.change import fixes, transaction
    from dirtune.host import LiveHost
    from dirtune.render import plan as render

    require_root("fix verify")
    names = tuple(fixes.named(checks))
    at = transaction.place()
    holdings = transaction.verify(at, LiveHost(), names)
    elsewhere = transaction.elsewhere(at, LiveHost(), names)
    rows = [
        render.Held(holding.journal, holding.change, holding.holds, holding.by)
        for holding in holdings
    ]
    shown = render.verify_json(rows) if form == "json" else render.verify_table(rows)
    _output.result(cells.block(shown, form), form)
    for line in elsewhere:
        _output.warning(line)
    gone = not all(holding.holds for holding in holdings)
    sys.exit(1 if gone or elsewhere or transaction.unreadable(at) else 0)
