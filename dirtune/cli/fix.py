"""Apply fixes for findings, and roll back those that nobody confirms."""

import sys
from pathlib import Path
from typing import NoReturn

import click

from dirtune.cli import _completion, _far, _output
from dirtune.cli._amount import SECONDS
from dirtune.cli._group import Group
from dirtune.cli._options import FORMAT, NEW_FOLDER, PATH
from dirtune.errors import NotPossible
from dirtune.jobs.root import require_root
from dirtune.render import markdown

_CHECKS = click.argument(
    "checks", nargs=-1, metavar="[CHECK[/FIX]]...", shell_complete=_completion.fixes
)
_HOST = _far.host("Work on HOST over SSH, as root, instead of on this host.")
_ON_TRIAL = click.option(
    "--on-trial",
    default="",
    hidden=True,
    metavar="RUN",
    help="Record in the journal that this run of dirtune tune tries the changes.",
)


@click.group(cls=Group)
def command() -> None:
    """Apply fixes for findings, and roll back those that nobody confirms.

    Without CHECK, dirtune fixes the findings of every check. For each finding, it applies the
    first fix that it can make, or the fix that you name after the check.

    Examples:
      dirtune fix plan
      dirtune fix apply ipvs/conn-reuse-delay --confirm 60
      dirtune fix plan --host lb1
      dirtune fix verify
    """


@command.command()
@_CHECKS
@click.option(
    "--root", type=PATH, metavar="TREE", help="Plan the changes for the recorded host in TREE."
)
@click.option(
    "--output",
    type=NEW_FOLDER,
    metavar="DIR",
    help="Write the plan into DIR: a script, and files of sysctl.d, modprobe.d, udev and systemd.",
)
@_HOST
@_far.options
@FORMAT
def plan(
    checks: tuple[str, ...], root: Path | None, output: Path | None, host: str | None, form: str
) -> None:
    """Print the changes that apply would make, as shell commands. This changes nothing.

    Examples:
      dirtune fix plan
      dirtune fix plan ipvs/conn-reuse-delay --format json
      dirtune fix plan --output ./settings
    """
    if host is not None:
        if root or output:
            raise click.UsageError("--root and --output are for this host. Leave out --host.")
        _far_plan(host, checks, form)
        return
    from dirtune.host import LiveHost
    from dirtune.jobs import fixes, snapshots
    from dirtune.render import overview
    from dirtune.render import plan as render

    here = LiveHost() if root is None else snapshots.tree(root)
    made = fixes.make(here, fixes.Wish(checks, root))
    texts = {"json": render.plan_json, "markdown": render.plan_markdown}
    notes = overview.left_open(made.by_hand, made.outcomes)
    _output.result(texts.get(form, render.plan_table)(made.plan, notes), form)
    _warn(notes, form)
    if output:
        from dirtune.render import fix_files

        for path in fixes.write(output, fix_files.files(made.plan, made.kept)):
            _output.progress(f"  {path}")


def _far_plan(host: str, checks: tuple[str, ...], form: str) -> None:
    from dirtune.change import fixes
    from dirtune.change.plan import Plan
    from dirtune.jobs import far_hosts
    from dirtune.render import plan as render

    fixes.named(checks)  # a mistyped check is refused before the host is asked
    done = far_hosts.planned(host, checks)
    texts = {"json": render.plan_json, "markdown": render.plan_markdown}
    _output.result(texts.get(form, render.plan_table)(Plan(done.changes, done.refusals)), form)


@command.command()
@_CHECKS
@click.option(
    "--confirm",
    "confirm_s",
    type=SECONDS,
    metavar="SECONDS",
    help="Roll back unless you confirm within this time; 0 keeps the changes. "
    "[default: 120 if a change is disruptive, else 0]",
)
@click.option(
    "--persist", is_flag=True, help="Keep the changes over a reboot, once they are confirmed."
)
@click.option(
    "--force",
    multiple=True,
    metavar="NAME[=WHY]",
    help="Apply a refused change anyway. NAME is the name that the refusal prints; WHY is kept in "
    "the journal. If only one change is refused, WHY alone is enough. Repeatable.",
)
@_ON_TRIAL
@_HOST
@_far.options
@FORMAT
def apply(
    checks: tuple[str, ...],
    confirm_s: float | None,
    persist: bool,
    force: tuple[str, ...],
    on_trial: str,
    host: str | None,
    form: str,
) -> None:
    """Apply the fixes of CHECK; without CHECK, every fix that is safe.

    Examples:
      dirtune fix apply
      dirtune fix apply ipvs/conn-reuse-delay --persist
      dirtune fix apply irq/shared-with-nic --confirm 60 --force vrrp="the backup serves"
      dirtune fix apply ipvs/conn-reuse-delay --host lb1 --confirm 60
    """
    if host is not None:
        from dirtune.change import fixes as known

        known.named(checks)
        options = (
            *(("--persist",) if persist else ()),
            *(f"--force={name}" for name in force),
            *_far_words(confirm_s, on_trial),
        )
        _far_changes(host, ("apply", *checks, *options), form)
        return
    from dirtune.change import overdue, transaction
    from dirtune.host import WritableHost
    from dirtune.jobs import fixes
    from dirtune.render import overview
    from dirtune.render import plan as render

    require_root("fix apply")
    machine = WritableHost()
    made = fixes.make(machine, fixes.Wish(checks, force=force, safe=not checks))
    if made.plan.refusals and not made.plan.changes:
        raise NotPossible(" | ".join(map(render.refusal_line, made.plan.refusals)))
    chosen = made.kept if persist else made.plan
    seconds = fixes.confirm_s(chosen, confirm_s)
    journal, at = None, transaction.place()
    if chosen.changes:
        journal = transaction.carry_out(
            chosen, machine, at, confirm_s=seconds, forced=made.forced, on_trial=on_trial
        )
    text = render.applied_json if form == "json" else render.applied_table
    notes = overview.left_open(made.by_hand, made.outcomes)
    shown = text(chosen, journal, seconds, made.left_out, notes)
    _output.result(markdown.literal(shown, form), form)
    _warn(notes, form)
    if journal is not None:  # whoever reads the output may be slow
        overdue.require_standing(at, machine, journal)


def _far_words(confirm_s: float | None, on_trial: str) -> tuple[str, ...]:
    return (
        *(() if confirm_s is None else (f"--confirm={confirm_s:g}",)),
        *((f"--on-trial={on_trial}",) if on_trial else ()),
    )


def _far_changes(host: str, words: tuple[str, ...], form: str) -> None:
    from dirtune.jobs import far_hosts
    from dirtune.render import plan as render

    done = far_hosts.applied(host, words)
    shown = render.far_applied_json if form == "json" else render.far_applied_table
    _output.result(markdown.literal(shown(done, host), form), form)


def _warn(notes: tuple[str, ...], form: str) -> None:
    for note in notes if form == "json" else ():  # the JSON has no field for them
        _output.warning(note)


@command.command()
@click.argument("journal")
@click.option(
    "--confirm",
    "confirm_s",
    type=SECONDS,
    metavar="SECONDS",
    help="Roll back unless you confirm within this time; 0 keeps the changes. "
    "[default: the time that JOURNAL had]",
)
@_ON_TRIAL
@_HOST
@_far.options
@FORMAT
def reapply(
    journal: str, confirm_s: float | None, on_trial: str, host: str | None, form: str
) -> None:
    """Make the changes of JOURNAL again, which were rolled back since the last reboot.

    This looks for no findings: it makes exactly the changes that the journal records, and so it
    takes less time than apply.

    Examples:
      dirtune fix reapply 000003-20261130T130000.000000Z --confirm 60
      dirtune fix reapply 000003-20261130T130000.000000Z --host lb1
    """
    if host is not None:
        _far_changes(host, ("reapply", journal, *_far_words(confirm_s, on_trial)), form)
        return
    from dirtune.change import again, overdue, transaction
    from dirtune.change.plan import Plan
    from dirtune.host import WritableHost
    from dirtune.render import plan as render

    require_root("fix reapply")
    machine, at = WritableHost(), transaction.place()
    planned = again.rolled_back(at, machine, journal)
    made = Plan(planned.changes, ())
    seconds = planned.confirm_s if confirm_s is None else confirm_s
    new = transaction.carry_out(
        made, machine, at, confirm_s=seconds, forced=planned.forced, on_trial=on_trial
    )
    text = render.applied_json if form == "json" else render.applied_table
    _output.result(markdown.literal(text(made, new, seconds), form), form)
    overdue.require_standing(at, machine, new)  # whoever reads the output may be slow


@command.command()
@_CHECKS
@_HOST
@_far.options
@FORMAT
def verify(checks: tuple[str, ...], host: str | None, form: str) -> None:
    """Check whether each change is still in effect; the exit status is 1 if one is not.

    The exit status is also 1 if a journal cannot be read or was made in another network namespace,
    and if the last changes were rolled back because nobody confirmed them in time.

    Examples:
      dirtune fix verify
      dirtune fix verify ipvs/conn-reuse-delay --format json
      dirtune fix verify --host lb1
    """
    if host is not None:
        _far_verify(host, checks, form)
    from dirtune.change import fixes, in_effect, overdue, transaction
    from dirtune.host import LiveHost
    from dirtune.render import plan as render

    require_root("fix verify")
    names = tuple(fixes.named(checks))
    at = transaction.place()
    holdings = in_effect.verify(at, LiveHost(), names)
    elsewhere = in_effect.elsewhere(at, LiveHost(), names)
    rows = [
        render.Held(holding.journal, holding.change, holding.holds, holding.by, holding.on_trial)
        for holding in holdings
    ]
    shown = render.verify_json(rows) if form == "json" else render.verify_table(rows)
    _output.result(markdown.literal(shown, form), form)
    undone = overdue.last_undone(at, names)
    for line in (*elsewhere, *filter(None, (undone,))):
        _output.warning(line)
    gone = not all(holding.holds for holding in holdings)
    sys.exit(1 if gone or elsewhere or undone or transaction.unreadable(at) else 0)


def _far_verify(host: str, checks: tuple[str, ...], form: str) -> NoReturn:
    from dirtune.change import fixes
    from dirtune.jobs import far_hosts
    from dirtune.render import plan as render

    fixes.named(checks)
    done, status = far_hosts.verified(host, checks)
    rows = [render.Held(c.journal, c, c.holds, c.by, c.on_trial) for c in done.changes]
    shown = render.verify_json(rows) if form == "json" else render.verify_table(rows)
    _output.result(markdown.literal(shown, form), form)
    sys.exit(status)
