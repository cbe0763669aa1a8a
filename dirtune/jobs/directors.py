"""What the commands of `lvs` share: from a plan to what is to be done about it."""

import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import msgspec

from dirtune import plan as plans
from dirtune import signals
from dirtune.change.plan import Plan, joined
from dirtune.change.table import FRESH, Changes, edits
from dirtune.errors import (
    ApplyError,
    NodeUnreachable,
    NotInstalled,
    NotPossible,
    ParseError,
    PlanError,
)
from dirtune.host import LiveHost
from dirtune.jobs import notes, plan_files
from dirtune.jobs.root import require_root
from dirtune.lvs import ipvsadm, kernel
from dirtune.lvs.diff import Step, diff, touched
from dirtune.lvs.model import Table
from dirtune.plan import services
from dirtune.plan.configuration import Configuration, Director, Peer
from dirtune.render import cells

if TYPE_CHECKING:
    from dirtune.lvs.guard import Refusal

_LOCAL = "local"
_READ_S = 60
ANSWER_S = 300
_LARGEST_TEXT = 4 << 20
"""Characters of `ipvsadm -Sn`; a table of 10,000 destinations has half a million."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a plan would do to this host."""

    actual: Table
    steps: tuple[Step, ...]
    changes: Changes
    refusals: "tuple[Refusal, ...]"
    loaded: bool
    settings: Plan
    """What else the host must be set to."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A plan, and where it was read."""

    configuration: Configuration
    path: Path | None
    """None for standard input."""

    @property
    def where(self) -> str:
        """What a message calls it."""
        return "standard input" if self.path is None else str(self.path)


@dataclass(frozen=True, slots=True)
class Given:
    """The options of `apply`."""

    drain_s: float | None = None
    """How long what leaves may take to finish its connections; None cuts them off."""
    load: bool = False
    """Whether ip_vs may be loaded."""
    expect: str | None = None
    """The digest of the table that is to be changed."""
    force: tuple[str, ...] = ()
    """Names of what is refused and is to be done all the same."""
    confirm_s: float = 0
    form: str = "table"


def read(given: str | None) -> Asked:
    """Return the plan *given*, else dirtune.toml here, else that of a running lab.

    `-` is a plan as one line of JSON, as a dirtune elsewhere sends it: one that was cut off on
    the way is none.
    """
    if given == "-":
        try:
            return Asked(plans.parse_json(sys.stdin.readline()), None)
        except PlanError as error:
            raise PlanError(f"standard input: {error}") from error
    path = plan_files.locate(given)
    return Asked(plans.read_configuration(path), path)


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
    configuration = asked.configuration
    call = (configuration.director, ("lvs", *words, "-", "--here"), sent(configuration))
    return signals.run(ask(*call, ssh_config=configuration.ssh_config, wait_s=wait_s))


def sent(configuration: Configuration) -> str:
    """Return a plan as a dirtune elsewhere reads it from its input."""
    return f"{msgspec.json.encode(configuration).decode()}\n"


def on_host(host: str, words: Sequence[str]) -> tuple[str, int]:
    """Have the dirtune on *host* do it; see `there`."""
    return signals.run(ask(Director(host), ("lvs", *words), "", ssh_config=None, wait_s=_READ_S))


def plain(form: str) -> str:
    """Return the format to ask for where *form* is made of it by `cells.block`."""
    return "table" if form == "markdown" else form


def checked(host: str, text: str, form: str) -> str:
    """Return in *form* what the dirtune on *host* printed; `NotPossible` if it should be JSON."""
    if form == "json":
        from dirtune import remote

        remote.parse_object(host, ("dirtune", "lvs"), text)
    return cells.block(text, form)


async def ask(
    of: Director | Peer, words: Sequence[str], text: str, *, ssh_config: str | None, wait_s: float
) -> tuple[str, int]:
    """Have the dirtune on a node run *words*; return what it printed and its exit status.

    `NotPossible` is what it complained of.
    """
    from dirtune import remote

    argv = shlex.join((*of.dirtune.split(), *words))
    config = Path(ssh_config) if ssh_config else None
    async with (
        await remote.connect(of.host, ssh_config=config, become=of.become) as node,
        await node.start(argv, guarded=False) as process,
    ):
        # A command that ended without reading says why when it is waited for.
        with suppress(NodeUnreachable):
            await process.send(text)
        done = await process.finish(timeout_s=wait_s, most_bytes=remote.DOCUMENT_BYTES)
    if done.status == remote.MISSING:
        raise NotInstalled(
            f"{of.host}: dirtune is not installed there, and lvs needs it. "
            "Install the same version there"
        )
    if done.status not in {0, 1}:
        said = done.stderr.strip().splitlines() or [f"exit status {done.status}"]
        raise NotPossible(f"{of.host}: {said[-1].removeprefix('dirtune: ')}")
    _relay(of, done.stderr)
    return done.stdout, done.status


def _relay(of: Director | Peer, stderr: str) -> None:
    """Print what a node complained of, with its name: none of it is what this dirtune says."""
    name = of.host if isinstance(of, Director) else of.label
    for row in stderr.splitlines():
        notes.warning(f"{name}: {row.removeprefix('dirtune: ')}")


def planned(desired: Table, *, drain_s: float | None, form: str) -> tuple[str, int]:
    """Return what `apply` would change of this host, to print, and the exit status."""
    from dirtune.render import lvs_diff as render
    from dirtune.render import preparation as preparation_text

    found = propose(desired, drain_s=drain_s)
    for said in against(found):
        notes.warning(f"apply would refuse: {said[1]}")
    texts = {"json": render.document, "markdown": render.markdown}
    text = texts.get(form, render.table)(found.changes, found.steps, found.actual)
    text = preparation_text.before(f"{text}\n", found.settings, form)
    return text, 1 if found.steps or found.settings.changes else 0


def apply(asked: Asked, desired: Table, given: Given) -> str:
    """Set up the plan's director, here or there, and return what to print."""
    if is_here(asked, here=False):
        return apply_here(desired, given)
    wait_s = (given.drain_s or 0) + ANSWER_S
    return there(asked, _apply_words(given), wait_s=wait_s)[0].removesuffix("\n")


def require_ready(asked: Asked, desired: Table, given: Given, *, here: bool) -> None:
    """Raise what `apply` would of the plan's director as it is; nothing is changed."""
    if is_here(asked, here=here):
        allowed_here(desired, given)
    else:
        there(asked, (*_apply_words(given), "--dry-run"), wait_s=ANSWER_S)


def _apply_words(given: Given) -> tuple[str, ...]:
    return (
        *("apply", *drain_words(given.drain_s), "--format", given.form),
        *(f"--confirm={given.confirm_s:g}", *(f"--force={name}" for name in given.force)),
        *(("--load",) if given.load else ()),
        *((f"--expect={given.expect}",) if given.expect else ()),
    )


def apply_here(desired: Table, given: Given) -> str:
    """Set this host up as a director and return what to print."""
    return carry_out(allowed_here(desired, given), given.confirm_s, given.force, given.form)


def allowed_here(desired: Table, given: Given) -> Proposal:
    """Return what is to be done to this host; an error if anything stands against it."""
    require_root("lvs apply")
    found = propose(desired, drain_s=given.drain_s)
    require_expected(found, given.expect)
    require_allowed(found, given.force, load=given.load)
    return found


def drain_words(drain_s: float | None) -> tuple[str, ...]:
    """Return the option that says how long what leaves may take."""
    return ("--no-drain",) if drain_s is None else (f"--drain-wait={drain_s:g}",)


def propose(desired: Table, *, drain_s: float | None) -> Proposal:
    """Look at this host and say what *desired* would change of it."""
    host = LiveHost()
    loaded = kernel.loaded(host)
    actual = _read(host) if loaded else FRESH
    settings = _settings(desired)
    found = edits(actual, desired, drain_s=drain_s)
    if not found:  # then nothing stands against it, and nobody need be looked for
        return Proposal(actual, (), Changes(), (), loaded, settings)
    from dirtune.lvs import guard

    changed = touched(actual, desired)[1]
    around = guard.look_around(host, changed)
    refusals = guard.refusals(actual, changed, around)
    steps = diff(actual, desired)
    return Proposal(actual, steps, Changes(around.modules, found), refusals, loaded, settings)


def _settings(desired: Table) -> Plan:
    """Look at what a director with NAT needs of this host."""
    if not any(d.forwarding == "nat" for s in desired.services for d in s.destinations):
        return Plan()
    from dirtune.change import preparation
    from dirtune.jobs import snapshots
    from dirtune.snapshot import take

    snapshot = take(snapshots.sample(preparation.FIELDS), preparation.FIELDS)
    return preparation.director(desired, snapshot)


def require_expected(found: Proposal, digest: str | None) -> None:
    """Raise `ApplyError` if the table is another than *digest* names."""
    if digest is not None and digest != found.actual.digest:
        now = found.actual.digest
        raise ApplyError(f"IPVS: changed since it was {digest}, it is {now}: look at a new plan")


def require_allowed(found: Proposal, force: tuple[str, ...], *, load: bool) -> None:
    """Raise `NotPossible` for the first thing that stands against it and is not overruled."""
    if found.steps and not found.loaded and not load:
        raise NotPossible("ip_vs is not loaded: --load loads it, which is a change of this host")
    for name, said in against(found):
        if not name or name not in force:
            raise NotPossible(said)


def against(found: Proposal) -> tuple[tuple[str, str], ...]:
    """Return what stands against a proposal: what `--force` calls it, and a line on it."""
    from dirtune.render import preparation as render

    settings = found.settings.refusals
    return (
        *((refusal.name, _line(refusal)) for refusal in found.refusals),
        *((refusal.name, render.refusal_line(refusal)) for refusal in settings),
    )


def _line(refusal: "Refusal") -> str:
    force = f"; or --force {shlex.quote(refusal.name)}" if refusal.name else ""
    return f"{refusal.why}{force}"


def carry_out(found: Proposal, confirm_s: float, force: tuple[str, ...], form: str) -> str:
    """Apply a proposal and return what to print."""
    from dirtune.change import table, transaction
    from dirtune.host import WritableHost
    from dirtune.render import plan as render_plan

    plan = joined((found.settings, table.plan(found.changes)))
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
        content = text.read(_LARGEST_TEXT + 1)
        table = ipvsadm.parse(content) if len(content) <= _LARGEST_TEXT else None
    except (ParseError, UnicodeDecodeError) as error:
        raise ParseError(text.name, str(error)) from error
    if table is None:
        raise ParseError(text.name, f"the text is longer than {_LARGEST_TEXT >> 20} MiB")
    if not table.services:
        # What a failed `ipvsadm -Sn |` leaves: applied, such a plan removes every service.
        raise ParseError(text.name, "no service in it. Check what ipvsadm -Sn printed.")
    return table


def exported(given: str | None, host: str | None) -> Table:
    """Return the table of a plan, of *host*, or of this one."""
    if host is not None:
        # Read, not handed on: other programs obey what is printed.
        text, _ = on_host(host, ("export", "--format", "plan"))
        try:
            return services.table(plans.parse_configuration(text))
        except PlanError as error:
            said = "its dirtune printed no table; is the same version installed there?"
            raise NotPossible(f"{host}: {said} {error}") from error
    if given is None:
        return _read(LiveHost())
    return wanted(read(given))


def _read(host: LiveHost) -> Table:
    with kernel.opened(host) as ipvs:
        return ipvs.read()
