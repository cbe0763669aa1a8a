"""Fix what the audit found on this host, and take it back if it is not kept."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dirtune.cli._root import require_root
from dirtune.errors import NotPossible

if TYPE_CHECKING:
    from dirtune.host import Host
    from dirtune.tune.fixes import Fix
    from dirtune.tune.plan import Plan

_FORMAT = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "markdown"]),
    default="table",
    show_default=True,
)
_CHECKS = click.argument("checks", nargs=-1, metavar="[CHECK]...")
# What may cut the host off waits to be confirmed.
_CONFIRM_S = 120


@click.group()
def command() -> None:
    """Fix what the audit found on this host, and take it back if it is not kept.

    Without CHECK: the fixes of everything the audit finds.
    """


@command.command()
@_CHECKS
@click.option("--root", type=click.Path(path_type=Path), help="Plan for a recorded host.")
@_FORMAT
def plan(checks: tuple[str, ...], root: Path | None, form: str) -> None:
    """Say what would be done, with the same in shell commands. Changes nothing."""
    from dirtune.host import LiveHost
    from dirtune.render import plan as render

    made, _ = _plan(LiveHost(root or Path("/")), checks, live=root is None)
    texts = {"json": render.plan_json, "markdown": render.plan_markdown}
    click.echo(texts.get(form, render.plan_table)(made))


@command.command()
@_CHECKS
@click.option(
    "--confirm",
    "confirm_s",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Take it back unless confirmed in time; 0 keeps it. [default: 120 if disruptive]",
)
@click.option("--persist", is_flag=True, help="Keep it over a reboot, once it is confirmed.")
@click.option("--force", metavar="REASON", help="Do also what is refused; the reason is kept.")
@_FORMAT
def apply(
    checks: tuple[str, ...],
    confirm_s: float | None,
    persist: bool,
    force: str | None,
    form: str,
) -> None:
    """Carry out the fixes of CHECK; without CHECK, every fix that is safe."""
    from dirtune.host import WritableHost
    from dirtune.render import plan as render
    from dirtune.tune import transaction

    require_root("fix apply")
    _refuse_persist(persist)
    host = WritableHost()
    made, left_out = _plan(host, checks, force=bool(force), safe=not checks)
    _refuse_nothing_but_refusals(made)
    seconds = _confirm_s(made, confirm_s)
    journal = None
    if made.changes:
        at = transaction.place()
        journal = transaction.carry_out(made, host, at, confirm_s=seconds, forced=force)
    if form == "json":
        click.echo(render.applied_json(made, journal, seconds, left_out))
    else:
        click.echo(render.applied_table(made, journal, seconds, left_out))


@command.command()
@_CHECKS
@_FORMAT
def verify(checks: tuple[str, ...], form: str) -> None:
    """Read back whether what was fixed still has its effect; exit status 1 if not."""
    from dirtune.host import LiveHost
    from dirtune.render import plan as render
    from dirtune.tune import transaction

    require_root("fix verify")
    found = transaction.verify(transaction.place(), LiveHost(), checks)
    rows = [(each.journal, each.change, each.holds) for each in found]
    click.echo(render.verify_json(rows) if form == "json" else render.verify_table(rows))
    sys.exit(0 if all(each.holds for each in found) else 1)


def _plan(
    host: "Host",
    checks: tuple[str, ...],
    *,
    live: bool = True,
    force: bool = False,
    safe: bool = False,
) -> "tuple[Plan, tuple[Fix, ...]]":
    """Return the plan, and the fixes left out because only safe ones were wanted."""
    from dirtune.snapshot import take
    from dirtune.tune import fixes
    from dirtune.tune.surroundings import look_around

    snapshot = take(host)
    found = fixes.serving(checks) if checks else fixes.for_findings(snapshot)
    left_out = tuple(fix for fix in found if safe and fix.risk != "safe")
    chosen = tuple(fix for fix in found if fix not in left_out)
    around = look_around(host, chosen, live=live)
    return fixes.plan(chosen, snapshot, around, force=force), left_out


def _confirm_s(made: "Plan", asked: float | None) -> float:
    if asked is not None:
        return asked
    return _CONFIRM_S if any(c.risk == "disruptive" for c in made.changes) else 0


def _refuse_persist(persist: bool) -> None:
    if persist:
        said = "cannot do that yet; put the commands of `dirtune fix plan` into a boot unit"
        raise NotPossible(f"--persist: {said}")


def _refuse_nothing_but_refusals(made: "Plan") -> None:
    from dirtune.render.plan import refusal_line

    if made.refusals and not made.changes:
        raise NotPossible(" | ".join(map(refusal_line, made.refusals)))
