"""Set up IPVS from a plan: show, plan, apply, import, export."""

import gc
import sys
from typing import NoReturn, TextIO

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
_PLAN = click.argument("plan", required=False)
_HERE = click.option("--here", is_flag=True, help="This machine is the director that PLAN names.")
_NODE = click.option(
    "--node", metavar="NAME", help="This machine is the real server NAME of PLAN."
)
_ALONE = click.option("--director-only", is_flag=True, help="Leave the real servers alone.")
_HOST = click.option("--host", help="Of another host, by its ssh name; needs a dirtune there.")
_DRAIN = click.option(
    "--drain/--no-drain",
    default=True,
    show_default=True,
    help="Let what is removed finish its connections first.",
)
_DRAIN_S = click.option(
    "--drain-wait",
    "drain_s",
    type=SECONDS,
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="How long that may take; then everything is put back.",
)


@click.group(cls=Group)
def command() -> None:
    """Set up IPVS from a plan: show, plan, apply, check, presets, import, export.

    Without PLAN: dirtune.toml here, else the plan of a running lab. What `plan` and `apply` do is
    done by the dirtunes on the director and the real servers that the plan names.
    """


@command.command()
@_HOST
@_FORMAT
def show(host: str | None, form: str) -> None:
    """Print the IPVS table of this host, with connections and rates. Changes nothing."""
    # Ten thousand rows without a circle, looked through for circles again and again: a sixth of
    # the time.
    gc.disable()
    click.get_current_context().call_on_close(gc.enable)
    from dirtune.jobs import lvs_tables
    from dirtune.render import lvs as render

    table, seen = lvs_tables.counted(host)
    texts = {"json": render.document, "markdown": render.markdown}
    _output.result(texts.get(form, render.table)(table, seen), form)


@command.command()
@_PLAN
@_HERE
@_NODE
@_ALONE
@_DRAIN
@_DRAIN_S
@_FORMAT
def plan(
    plan: str | None,
    here: bool,
    node: str | None,
    director_only: bool,
    drain: bool,
    drain_s: float,
    form: str,
) -> None:
    """Say what `apply` would change. Changes nothing; exit status 1 if there is anything."""
    from dirtune.jobs import directors, lvs_plans
    from dirtune.render import preparation

    asked = lvs_plans.read(plan)
    desired = lvs_plans.wanted(asked)
    if node:
        from dirtune.jobs import real_servers

        text, status = real_servers.planned_here(asked.configuration, desired, node, form)
        _print_and_exit(cells.block(text, form), status, form)
    drain_for = drain_s if drain else None
    text, status = directors.planned(asked, desired, here=here, drain_s=drain_for, form=form)
    if here or director_only or not asked.configuration.real_servers:
        _print_and_exit(text, status, form)
    from dirtune.jobs import real_servers

    servers = real_servers.named(asked.configuration, desired)
    plans, lost = real_servers.plans(asked.configuration, servers)
    real_servers.warn(plans)
    for error in lost:
        _output.warning(f"{error}; --director-only leaves real servers alone")
    changed = any(each.changes for each in plans.values())
    status = 2 if lost else 1 if changed else status
    _print_and_exit(preparation.beside(text, plans, form), status, form)


@command.command()
@_PLAN
@_HERE
@_NODE
@_ALONE
@_DRAIN
@_DRAIN_S
@click.option("--load", is_flag=True, help="Load ip_vs if it is not loaded.")
@click.option("--expect", metavar="DIGEST", help="Refuse if the table is no longer this one.")
@click.option(
    "--confirm",
    "confirm_s",
    type=SECONDS,
    default=0,
    metavar="SECONDS",
    help="Take it back unless confirmed in time, on every node; 0 keeps it.",
)
@click.option(
    "--force", multiple=True, metavar="NAME", help="Overrule what is refused by that NAME."
)
@click.option(
    "--dry-run", is_flag=True, hidden=True, help="Only say whether the director refuses."
)
@_FORMAT
def apply(
    plan: str | None,
    here: bool,
    node: str | None,
    director_only: bool,
    drain: bool,
    drain_s: float,
    load: bool,
    expect: str | None,
    confirm_s: float,
    force: tuple[str, ...],
    dry_run: bool,
    form: str,
) -> None:
    """Make the IPVS table, and the real servers, what PLAN says; `rollback` takes it back.

    Real servers are prepared first, and put back if the director then cannot be set up. At the
    end a request of the plan's clients must reach each of them: exit status 1 if not.
    """
    from dirtune.jobs import directors, lvs_plans, real_servers

    asked = lvs_plans.read(plan)
    desired = lvs_plans.wanted(asked)
    if node:
        require_root("lvs apply")
        given = lvs_plans.Given(force=force, confirm_s=confirm_s, form=directors.plain(form))
        text = real_servers.carry_out_here(asked.configuration, desired, node, given)
        _print_and_exit(cells.block(f"{text}\n", form), 0, form)
    drain_for = drain_s if drain else None
    given = lvs_plans.Given(drain_for, load, expect, force, confirm_s, directors.plain(form))
    if dry_run:
        text = directors.rehearsed(asked, desired, given, here=here)
        _print_and_exit(cells.block(text, form) if text else "", 0, form)
    if here:
        text = directors.apply_here(desired, given)
        _print_and_exit(cells.block(f"{text}\n", form), 0, form)
    servers = () if director_only else real_servers.named(asked.configuration, desired)
    if servers:
        directors.require_ready(asked, desired, given)
    text, done = real_servers.prepared(
        asked.configuration, servers, given, lambda: directors.apply(asked, desired, given)
    )
    text, status = real_servers.finished(asked, text, done, given)
    _print_and_exit(cells.block(text, form), status, form)


@command.command()
@_PLAN
@_FORMAT
def check(plan: str | None, form: str) -> None:
    """Send requests through the VIP until every real server had one, and say who answered.

    From the plan's clients, to the service of its load. Exit status 1 if one did not answer.
    """
    from dirtune.jobs import plan_files, real_servers

    text, status = real_servers.reached(plan_files.find(plan), form)
    _print_and_exit(cells.block(text, form), status, form)


@command.command()
@_PLAN
@_FORMAT
def presets(plan: str | None, form: str) -> None:
    """Show how clients and real servers stand to the settings of the 2001 paper.

    With what is their equal today, why, and how each is set. Reads over SSH, changes nothing.
    """
    from dirtune.jobs import plan_files, real_servers
    from dirtune.render import presets as render

    found, lost = real_servers.presets_of(plan_files.find(plan))
    texts = {"json": render.document, "markdown": render.markdown}
    _output.result(texts.get(form, render.table)(found), form)
    for error in lost:
        _output.warning(str(error))
    sys.exit(2 if lost else 0)


@command.command("import")
@click.argument("text", type=click.File("r"), default="-")
def import_(text: TextIO) -> None:
    """Print the plan of what `ipvsadm -Sn` wrote (TEXT, or standard input)."""
    from dirtune.jobs import lvs_plans
    from dirtune.render import lvs_plan

    _output.result(lvs_plan.plan(lvs_plans.imported(text)), end="")


@command.command()
@click.argument("plan", required=False)
@_HOST
@click.option(
    "--format",
    "form",
    type=click.Choice(["ipvsadm", "keepalived", "plan"]),
    default="ipvsadm",
    show_default=True,
)
def export(plan: str | None, host: str | None, form: str) -> None:
    """Print what PLAN says, or without it the table of this host, for other programs.

    ipvsadm: what `ipvsadm -R` reads. keepalived: its virtual_server blocks. plan: a plan file.
    """
    from dirtune.jobs import lvs_tables
    from dirtune.lvs import ipvsadm
    from dirtune.render import lvs_keepalived, lvs_plan

    if host and plan:
        raise click.UsageError("--host has a table of its own; leave PLAN out")
    texts = {"keepalived": lvs_keepalived.blocks, "plan": lvs_plan.plan}
    _output.result(texts.get(form, ipvsadm.export)(lvs_tables.exported(plan, host)), end="")


def _print_and_exit(text: str, status: int, form: str) -> NoReturn:
    _output.result(text, form, end="")
    sys.exit(status)
