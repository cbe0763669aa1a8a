"""Set up IPVS from a plan: show, plan, apply, import, export."""

import sys
from typing import NoReturn, TextIO

import click

from dirtune.cli._root import require_root

_ANSWER_S = 300
_FORMAT = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "markdown"]),
    default="table",
    show_default=True,
)
_PLAN = click.argument("plan", required=False)
_HERE = click.option("--here", is_flag=True, help="This machine is the director that PLAN names.")
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
    type=click.FloatRange(min=0),
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="How long that may take; then everything is put back.",
)


@click.group()
def command() -> None:
    """Set up IPVS from a plan: show, plan, apply, import, export.

    Without PLAN: dirtune.toml here, else the plan of a running lab. What `plan` and `apply` do is
    done by the dirtune on the director that the plan names.
    """


@command.command()
@_HOST
@_FORMAT
def show(host: str | None, form: str) -> None:
    """Print the IPVS table of this host, with connections and rates. Changes nothing."""
    if host:
        from dirtune.cli import _lvs

        _print_and_exit(*_lvs.on_host(host, ("show", "--format", form)))
    from dirtune.host import LiveHost
    from dirtune.lvs import kernel
    from dirtune.render import lvs as render

    with kernel.opened(LiveHost()) as ipvs:
        table, seen = ipvs.read_counted()
    texts = {"json": render.document, "markdown": render.markdown}
    click.echo(texts.get(form, render.table)(table, seen))


@command.command()
@_PLAN
@_HERE
@_DRAIN
@_DRAIN_S
@_FORMAT
def plan(plan: str | None, here: bool, drain: bool, drain_s: float, form: str) -> None:
    """Say what `apply` would change. Changes nothing; exit status 1 if there is anything."""
    from dirtune.cli import _lvs
    from dirtune.render import lvs_diff as render

    asked = _lvs.read(plan)
    desired = _lvs.wanted(asked)
    if not _lvs.is_here(asked, here=here):
        words = ("plan", *_drain_words(drain, drain_s), "--format", form)
        _print_and_exit(*_lvs.there(asked, words, wait_s=_ANSWER_S))
    found = _lvs.propose(desired, drain_s=drain_s if drain else None)
    for refusal in found.refusals:
        click.echo(f"dirtune: apply would refuse: {_lvs.line(refusal)}", err=True)
    texts = {"json": render.document, "markdown": render.markdown}
    click.echo(texts.get(form, render.table)(found.changes, found.steps, found.actual))
    sys.exit(1 if found.steps else 0)


@command.command()
@_PLAN
@_HERE
@_DRAIN
@_DRAIN_S
@click.option("--load", is_flag=True, help="Load ip_vs if it is not loaded.")
@click.option("--expect", metavar="DIGEST", help="Refuse if the table is no longer this one.")
@click.option(
    "--confirm",
    "confirm_s",
    type=click.FloatRange(min=0),
    default=0,
    metavar="SECONDS",
    help="Take it back unless confirmed in time; 0 keeps it.",
)
@click.option(
    "--force", multiple=True, metavar="NAME", help="Overrule what is refused by that NAME."
)
@_FORMAT
def apply(
    plan: str | None,
    here: bool,
    drain: bool,
    drain_s: float,
    load: bool,
    expect: str | None,
    confirm_s: float,
    force: tuple[str, ...],
    form: str,
) -> None:
    """Make the IPVS table what PLAN says; `dirtune rollback` takes it back."""
    from dirtune.cli import _lvs

    asked = _lvs.read(plan)
    desired = _lvs.wanted(asked)
    if not _lvs.is_here(asked, here=here):
        words = ["apply", *_drain_words(drain, drain_s), "--format", form]
        words += [f"--confirm={confirm_s:g}", *(f"--force={name}" for name in force)]
        words += [*(["--load"] if load else ()), *([f"--expect={expect}"] if expect else ())]
        _print_and_exit(*_lvs.there(asked, words, wait_s=drain_s + _ANSWER_S))
    require_root("lvs apply")
    found = _lvs.propose(desired, drain_s=drain_s if drain else None)
    _lvs.require_expected(found, expect)
    _lvs.require_allowed(found, force, load=load)
    click.echo(_lvs.carry_out(found, confirm_s, force, form))


@command.command("import")
@click.argument("text", type=click.File("r"), default="-")
def import_(text: TextIO) -> None:
    """Print the plan of what `ipvsadm -Sn` wrote (TEXT, or standard input)."""
    from dirtune.cli import _lvs
    from dirtune.render import lvs_plan

    click.echo(lvs_plan.plan(_lvs.imported(text)), nl=False)


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
    from dirtune.cli import _lvs
    from dirtune.lvs import ipvsadm
    from dirtune.render import lvs_keepalived, lvs_plan

    if host and plan:
        raise click.UsageError("--host has a table of its own; leave PLAN out")
    if host:
        _print_and_exit(*_lvs.on_host(host, ("export", "--format", form)))
    texts = {"keepalived": lvs_keepalived.blocks, "plan": lvs_plan.plan}
    click.echo(texts.get(form, ipvsadm.export)(_lvs.exported(plan)), nl=False)


def _drain_words(drain: bool, drain_s: float) -> tuple[str, ...]:
    return (f"--drain-wait={drain_s:g}",) if drain else ("--no-drain",)


def _print_and_exit(text: str, status: int) -> NoReturn:
    click.echo(text, nl=False)
    sys.exit(status)
