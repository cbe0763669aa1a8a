"""Set up IPVS from a plan: show, plan, apply, import, export."""

import gc
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, NoReturn, TextIO

import click

from dirtune.cli import _far, _lvs_texts, _output, _through
from dirtune.cli._amount import SECONDS
from dirtune.cli._group import Group
from dirtune.cli._options import NETNS, enter
from dirtune.jobs.root import require_root
from dirtune.render import markdown

if TYPE_CHECKING:
    from dirtune.jobs.lvs_plans import PlanSource
    from dirtune.lvs.keepalived_text import Checker
    from dirtune.lvs.model import Table

_FORMAT = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "markdown"]),
    default="table",
    show_default=True,
    help="Print the result in this format.",
)
_PLAN = click.argument("plan", required=False)
_HERE = click.option("--here", is_flag=True, help="Treat this machine as the director of PLAN.")
_NODE = click.option(
    "--node", metavar="NAME", help="Treat this machine as the real server NAME of PLAN."
)
_ALONE = click.option("--director-only", is_flag=True, help="Do not change the real servers.")
_HOST = _far.host("Use the IPVS table of this SSH host.")
_DRAIN = click.option(
    "--drain/--no-drain",
    default=True,
    show_default=True,
    help="Before a real server is removed, let its connections end.",
)
_DRAIN_S = click.option(
    "--drain-wait",
    "drain_s",
    type=SECONDS,
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="Roll everything back if connections to removed real servers have not ended within "
    "SECONDS.",
)


@click.group(cls=Group)
def command() -> None:
    """Set up IPVS from a plan: show, plan, apply, check, presets, import, export.

    Without PLAN, dirtune reads dirtune.toml in the current folder, else the plan of a running lab.
    `plan` and `apply` work through dirtune on the director and on the real servers that the plan
    names. If dirtune is not installed on such a node, it is sent there, and removed at the end.

    Examples:
      dirtune lvs plan dirtune.toml
    """


@command.command()
@_HOST
@NETNS
@_far.options
@_FORMAT
def show(host: str | None, netns: str | None, form: str) -> None:
    """Print the IPVS table of a host, with connections and rates. Changes nothing.

    Examples:
      dirtune lvs show --host lb1
      dirtune lvs show --netns ingress_sbox
    """
    enter(None if host else netns)
    # The collector would scan ten thousand rows, which have no cycles, again and again, and take
    # a sixth of the time.
    gc.disable()
    click.get_current_context().call_on_close(gc.enable)
    from dirtune.jobs import lvs_tables
    from dirtune.render import lvs as render

    table, seen = lvs_tables.counted(host, netns)
    texts = {"json": render.document, "markdown": render.markdown}
    _output.result(texts.get(form, render.table)(table, seen), form)


@command.command()
@_PLAN
@_HERE
@_NODE
@_ALONE
@_DRAIN
@_DRAIN_S
@_through.OPTION
@_through.CHECKER
@_far.options
@_FORMAT
def plan(
    plan: str | None,
    here: bool,
    node: str | None,
    director_only: bool,
    drain: bool,
    drain_s: float,
    through: str | None,
    checker: "Checker | None",
    form: str,
) -> None:
    """Print the changes that `apply` would make, and make none. Exit status 1 if there are any.

    Without PLAN, on a host where keepalived runs, dirtune compares keepalived.conf with the IPVS
    table, and prints why they differ.

    Examples:
      dirtune lvs plan dirtune.toml --director-only
    """
    from dirtune.jobs import directors, lvs_drift, lvs_plans

    chosen = _through.chosen(through, checker)
    differences = lvs_drift.differences(plan) if node is None else None
    if differences is not None:
        text = _lvs_texts.drift(differences, form)
        _print_and_exit(f"{text}\n", int(bool(differences)), form)
    source = lvs_plans.read(plan)
    desired = lvs_plans.desired_table(source)
    if node:
        _print_plan_of_real_server(source, desired, node, form)
    options = lvs_plans.ApplyOptions(drain_s if drain else None, checker=chosen)
    planned = directors.planned(source, desired, options, here=here, in_full=form != "json")
    if here or director_only or not source.configuration.real_servers:
        _print_and_exit(_lvs_texts.planned(planned, {}, form), int(planned.pending), form)
    from dirtune.jobs import real_servers

    servers = real_servers.named(source.configuration, desired)
    plans, lost = real_servers.plans(source.configuration, servers)
    real_servers.warn(plans)
    for error in lost:
        _output.warning(f"{error}; --director-only leaves the real servers out")
    changed = any(server_plan.changes for server_plan in plans.values())
    status = 2 if lost else int(changed or planned.pending)
    _print_and_exit(_lvs_texts.planned(planned, plans, form), status, form)


def _print_plan_of_real_server(
    source: "PlanSource", desired: "Table", node: str, form: str
) -> NoReturn:
    from dirtune.jobs import real_servers

    plan = real_servers.propose(source.configuration, desired, node)
    if form != "json":  # which holds the refusals itself
        real_servers.warn({node: plan})
    text = _lvs_texts.real_server(plan, form)
    _print_and_exit(markdown.literal(text, form), int(bool(plan.changes)), form)


@command.command()
@_PLAN
@_HERE
@_NODE
@_ALONE
@_DRAIN
@_DRAIN_S
@_through.OPTION
@_through.CHECKER
@click.option("--load", is_flag=True, help="Load the module ip_vs if it is not loaded.")
@click.option(
    "--expect",
    metavar="DIGEST",
    help="Apply only if the current IPVS table has the digest DIGEST, which `plan` prints.",
)
@click.option(
    "--confirm",
    "confirm_s",
    type=SECONDS,
    default=0,
    metavar="SECONDS",
    help="Roll back on each node where nobody runs `dirtune confirm` within SECONDS; 0 keeps the "
    "changes.",
)
@click.option(
    "--force",
    multiple=True,
    metavar="NAME",
    help="Apply a refused change anyway. NAME is the name that the refusal prints. Repeatable.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    hidden=True,
    help="Print the changes that `apply` would make on the director, or why it would refuse.",
)
@_far.options
@_FORMAT
def apply(
    plan: str | None,
    here: bool,
    node: str | None,
    director_only: bool,
    drain: bool,
    drain_s: float,
    through: str | None,
    checker: "Checker | None",
    load: bool,
    expect: str | None,
    confirm_s: float,
    force: tuple[str, ...],
    dry_run: bool,
    form: str,
) -> None:
    """Set up the IPVS table and the real servers as PLAN says; `dirtune rollback` undoes it.

    dirtune prepares the real servers first, and rolls them back if it cannot set up the director.
    At the end it sends requests from the plan's clients until each real server has answered; the
    exit status is 1 if one does not.

    With --through keepalived, keepalived sets up the table: the services become a file of their
    own beside keepalived.conf, which `keepalived -t` tries first. dirtune reloads keepalived, and
    waits until the IPVS table is as planned.

    Examples:
      dirtune lvs apply dirtune.toml --confirm 60
      dirtune lvs apply dirtune.toml --through keepalived --checker tcp --confirm 60
    """
    from dirtune.jobs import directors, lvs_plans, real_servers

    chosen = _through.chosen(through, checker)
    source = lvs_plans.read(plan)
    desired = lvs_plans.desired_table(source)
    if node:
        require_root("lvs apply")
        options = lvs_plans.ApplyOptions(force=force, confirm_s=confirm_s)
        applied = real_servers.carry_out_here(source.configuration, desired, node, options)
        _output.result(_lvs_texts.applied(applied, form), form, end="")
        directors.require_standing_here(applied)
        return
    options = lvs_plans.ApplyOptions(
        *(drain_s if drain else None, load, expect, force, confirm_s),
        checker=chosen,
    )
    if dry_run:
        planned = directors.rehearsed(source, desired, options, here=here)
        _print_and_exit(_lvs_texts.rehearsed(planned, form), 0, form)
    if here:
        applied = directors.apply_here(desired, options)
        _output.result(_lvs_texts.applied(applied, form), form, end="")
        directors.require_standing_here(applied)
        return
    servers = () if director_only else real_servers.named(source.configuration, desired)
    if servers:
        directors.require_ready(source, desired, options)
    applied, done = real_servers.prepared(
        source.configuration, servers, options, lambda: directors.apply(source, desired, options)
    )
    applied_s = time.monotonic()
    reach, status = real_servers.who_answers(source) if done else (None, 0)
    hold_s = real_servers.unconfirmed_s(options)
    _output.result(_lvs_texts.finished(applied, done, reach, hold_s, form), form, end="")
    elapsed_s = time.monotonic() - applied_s
    directors.require_standing(source, desired, options, applied, elapsed_s)
    sys.exit(status)


@command.command()
@_PLAN
@_FORMAT
def check(plan: str | None, form: str) -> None:
    """Send requests through the VIP until every real server has answered, and print which did.

    The plan's clients send the requests to the service that the plan's load uses. The exit status
    is 1 if a real server does not answer.

    Examples:
      dirtune lvs check dirtune.toml
    """
    from dirtune.jobs import plan_files, real_servers
    from dirtune.render import preparation

    reach = real_servers.reached(plan_files.find(plan))
    show = preparation.reach_json if form == "json" else preparation.reached
    _print_and_exit(markdown.literal(f"{show(reach)}\n", form), 0 if reach.whole else 1, form)


@command.command()
@_PLAN
@_FORMAT
def presets(plan: str | None, form: str) -> None:
    """Compare the settings of clients and real servers with those of the 2001 paper.

    For each setting, dirtune prints today's equivalent, the reason for it and the command that
    sets it. It reads the nodes over SSH and changes nothing.

    Examples:
      dirtune lvs presets dirtune.toml
    """
    from dirtune.jobs import plan_files, real_servers
    from dirtune.render import presets as render

    settings, lost = real_servers.presets_of(plan_files.find(plan))
    texts = {"json": render.document, "markdown": render.markdown}
    _output.result(texts.get(form, render.table)(settings), form)
    for error in lost:
        _output.warning(str(error))
    sys.exit(2 if lost else 0)


@command.command("import")
@click.argument("text", type=click.File("r", errors="backslashreplace"), default="-")
@click.option(
    "--config-id",
    metavar="NAME",
    help="Read the lines of keepalived.conf that begin with @NAME [default: the host name].",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["toml", "json"]),
    default="toml",
    show_default=True,
    help="Print the plan in this format.",
)
def import_(text: TextIO, config_id: str | None, form: str) -> None:
    """Print the plan for a table that `ipvsadm -Sn` wrote (TEXT, or standard input).

    TEXT can also be a keepalived.conf(5). dirtune reads it with its includes, leaves out
    passwords, and runs no script. The plan is the table while every real server is up. dirtune
    refuses a line that `keepalived -t` refuses, and prints what keepalived would correct.

    A plan of thousands of services needs --format json, and a file whose name ends in .json.

    Examples:
      dirtune lvs import services.txt
      dirtune lvs import /etc/keepalived/keepalived.conf
    """
    from dirtune.jobs import lvs_plans
    from dirtune.render import lvs_plan

    show = lvs_plan.document if form == "json" else lvs_plan.plan
    _output.result(show(lvs_plans.imported(text, config_id)), "text", end="")


@command.command()
@click.argument("plan", required=False)
@_HOST
@NETNS
@_far.options
@click.option(
    "--format",
    "form",
    type=click.Choice(["ipvsadm", "keepalived", "kube-proxy", "plan", "json"]),
    default="ipvsadm",
    show_default=True,
    help="Print the table in this format.",
)
@click.option(
    "--checker",
    type=click.Choice(["none", "tcp"]),
    default="none",
    show_default=True,
    help="Give real servers of TCP services this health check (--format keepalived).",
)
def export(
    plan: str | None, host: str | None, netns: str | None, form: str, checker: "Checker"
) -> None:
    """Print the table of PLAN, or without PLAN the table of a host, for other programs.

    --format ipvsadm prints input for `ipvsadm -R`, --format keepalived prints virtual_server
    blocks of keepalived.conf(5), --format kube-proxy the keys of kube-proxy's ConfigMap, --format
    plan prints a plan file, and --format json the same plan as JSON.

    Examples:
      dirtune lvs export dirtune.toml --format keepalived
    """
    from dirtune.jobs import lvs_tables
    from dirtune.lvs import ipvsadm, keepalived_text
    from dirtune.render import lvs_kube_proxy, lvs_plan

    if host and plan:
        raise click.UsageError("PLAN and --host name two tables. Leave one of them out.")
    enter(None if host else netns, PLAN=plan)
    texts = {"plan": lvs_plan.plan, "json": lvs_plan.document}
    texts["kube-proxy"] = lvs_kube_proxy.config_map
    texts["keepalived"] = partial(keepalived_text.blocks, checker=checker)
    table = lvs_tables.exported(plan, host, netns)
    _output.result(texts.get(form, ipvsadm.export)(table), "text", end="")


def _print_and_exit(text: str, status: int, form: str) -> NoReturn:
    _output.result(text, form, end="")
    sys.exit(status)
