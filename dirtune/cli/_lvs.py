"""What the commands of `lvs` share: from a plan to what is to be done about it."""

import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import click
import msgspec

from dirtune.bench import plan as plans
from dirtune.bench import services
from dirtune.bench.tables import Configuration, Director
from dirtune.cli import _plan
from dirtune.errors import ApplyError, NodeUnreachable, NotPossible, ParseError, PlanError
from dirtune.host import LiveHost
from dirtune.lvs import guard, ipvsadm, kernel
from dirtune.lvs.change import FRESH, Changes, changes
from dirtune.lvs.diff import Step, diff, touched
from dirtune.lvs.guard import Refusal
from dirtune.lvs.model import Table

_LOCAL = "local"
_READ_S = 60


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a plan would do to this host."""

    actual: Table
    steps: tuple[Step, ...]
    changes: Changes
    refusals: tuple[Refusal, ...]
    loaded: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """A plan, and where it was read."""

    configuration: Configuration
    where: str


def read(given: str | None) -> Asked:
    """Return the plan *given*, else dirtune.toml here, else that of a running lab.

    `-` is a plan as one line of JSON, as a dirtune elsewhere sends it: one that was cut off on
    the way is none.
    """
    if given == "-":
        where = "standard input"
        try:
            return Asked(plans.parse_json(sys.stdin.readline()), where)
        except PlanError as error:
            raise PlanError(f"{where}: {error}") from error
    path = _plan.locate(given)
    return Asked(plans.read_configuration(path), str(path))


def wanted(asked: Asked) -> Table:
    """Return the table of a plan; `PlanError` names file and key."""
    try:
        return services.table(asked.configuration)
    except PlanError as error:
        raise PlanError(f"{asked.where}: {error}") from error


def is_here(asked: Asked, *, here: bool) -> bool:
    """Tell whether this machine is the plan's director."""
    return here or asked.configuration.director.host == _LOCAL


def there(asked: Asked, words: Sequence[str], *, wait_s: float) -> tuple[str, int]:
    """Have the plan's director do it; return what it printed and its exit status.

    `NotPossible` is what it complained of.
    """
    config = asked.configuration.ssh_config
    text = msgspec.json.encode(asked.configuration).decode()
    return _ask(
        asked.configuration.director,
        (*words, "-", "--here"),
        f"{text}\n",
        ssh_config=Path(config) if config else None,
        wait_s=wait_s,
    )


def on_host(host: str, words: Sequence[str]) -> tuple[str, int]:
    """Have the dirtune on *host* do it; see `there`."""
    return _ask(Director(host), words, "", ssh_config=None, wait_s=_READ_S)


def _ask(
    director: Director, words: Sequence[str], text: str, *, ssh_config: Path | None, wait_s: float
) -> tuple[str, int]:
    import asyncio

    from dirtune import remote

    argv = shlex.join((*director.dirtune.split(), "lvs", *words))

    async def run() -> remote.Finished:
        async with (
            await remote.connect(
                director.host, ssh_config=ssh_config, become=director.become
            ) as node,
            await node.start(argv, guarded=False) as process,
        ):
            # A command that ended without reading says why when it is waited for.
            with suppress(NodeUnreachable):
                await process.send(text)
            return await process.finish(timeout_s=wait_s)

    done = asyncio.run(run())
    if done.status not in {0, 1}:
        said = done.stderr.strip().splitlines() or [f"exit status {done.status}"]
        raise NotPossible(f"{director.host}: {said[-1].removeprefix('dirtune: ')}")
    click.echo(done.stderr, err=True, nl=False)
    return done.stdout, done.status


def propose(desired: Table, *, drain_s: float | None) -> Proposal:
    """Look at this host and say what *desired* would change of it."""
    host = LiveHost()
    loaded = kernel.loaded(host)
    actual = _read(host) if loaded else FRESH
    changed = touched(actual, desired)[1]
    around = guard.look_around(host, changed)
    found = changes(actual, desired, around.modules, drain_s=drain_s)
    refusals = guard.refusals(actual, changed, around) if found.edits else ()
    return Proposal(actual, diff(actual, desired), found, refusals, loaded)


def require_expected(found: Proposal, digest: str | None) -> None:
    """Raise `ApplyError` if the table is another than *digest* names."""
    if digest is not None and digest != found.actual.digest:
        now = found.actual.digest
        raise ApplyError(f"IPVS: changed since it was {digest}, it is {now}: look at a new plan")


def require_allowed(found: Proposal, force: tuple[str, ...], *, load: bool) -> None:
    """Raise `NotPossible` for the first thing that stands against it and is not overruled."""
    if found.steps and not found.loaded and not load:
        raise NotPossible("ip_vs is not loaded: --load loads it, which is a change of this host")
    for refusal in found.refusals:
        if refusal.name not in force:
            raise NotPossible(line(refusal))


def line(refusal: Refusal) -> str:
    """Return a refusal as one line, with what overrules it."""
    return f"{refusal.why}; or --force {refusal.name}" if refusal.name else refusal.why


def carry_out(found: Proposal, confirm_s: float, force: tuple[str, ...], form: str) -> str:
    """Apply a proposal and return what to print."""
    from dirtune.host import WritableHost
    from dirtune.render import plan as render_plan
    from dirtune.tune import table, transaction

    plan = table.plan(found.changes)
    journal = None
    if plan.changes:
        journal = transaction.carry_out(
            plan,
            WritableHost(),
            transaction.place(),
            confirm_s=confirm_s,
            forced=", ".join(force) or None,
        )
    render = render_plan.applied_json if form == "json" else render_plan.applied_table
    return render(plan, journal, confirm_s)


def imported(text: TextIO) -> Table:
    """Return the table that a text of ipvsadm makes; `ParseError` names file and line."""
    try:
        return ipvsadm.parse(text.read())
    except (ParseError, UnicodeDecodeError) as error:
        raise ParseError(text.name, str(error)) from error


def exported(given: str | None) -> Table:
    """Return the table of a plan, or of this host."""
    if given is None:
        return _read(LiveHost())
    return wanted(read(given))


def _read(host: LiveHost) -> Table:
    with kernel.opened(host) as ipvs:
        return ipvs.read()
