"""The real servers of a plan: each is prepared by the dirtune on it."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import click
import msgspec

from dirtune.bench.tables import Configuration, Peer
from dirtune.bench.tables import Plan as BenchPlan
from dirtune.cli import _lvs, _plan, _sources
from dirtune.cli._lvs import Asked, Given
from dirtune.errors import DirtuneError, NotPossible, PlanError
from dirtune.host import LiveHost, WritableHost
from dirtune.lvs.model import Table
from dirtune.render import plan as render_plan
from dirtune.render import preparation as render
from dirtune.render.preparation import Done
from dirtune.snapshot import take
from dirtune.tune import ip, preparation, presets, transaction
from dirtune.tune.plan import Change, Plan
from dirtune.tune.preparation import Need, Seen
from dirtune.tune.presets import Judged
from dirtune.tune.surroundings import ssh_connection

_ANSWER_S = 120
_SETTLE_S = 60


class _Applied(msgspec.Struct):
    """Of what a real server's dirtune says that it did, what is wanted here."""

    journal: str | None
    changes: tuple[Change, ...]

    @property
    def done(self) -> Done:
        return Done(self.journal, tuple(change.title for change in self.changes))


def named(configuration: Configuration, desired: Table) -> tuple[Peer, ...]:
    """Return the real servers that *desired* forwards to and that can be logged into."""
    return tuple(
        peer
        for peer in configuration.real_servers
        if _need(configuration, desired, peer) != Need()
    )


def propose(configuration: Configuration, desired: Table, name: str) -> Plan:
    """Look at this host, the plan's real server *name*, and say what is to be changed of it."""
    peer = next((each for each in configuration.real_servers if each.label == name), None)
    if peer is None:
        raise PlanError(f"real_servers: there is no {name}")
    host = LiveHost()
    snapshot = take(_sources.sample(preparation.FIELDS), preparation.FIELDS)
    came = (ssh_connection(host) or "").split()
    seen = Seen(snapshot, ip.default_routes(host), came[0] if came else None)
    return preparation.real_server(_need(configuration, desired, peer), seen)


def planned_here(
    configuration: Configuration, desired: Table, name: str, form: str
) -> tuple[str, int]:
    """Return what is to be changed of this host, to print, and the exit status."""
    found = propose(configuration, desired, name)
    if form == "json":
        return f"{render_plan.plan_json(found)}\n", 1 if found.changes else 0
    warn({name: found})
    texts = "\n".join(render.rows(found)) or "nothing to do"
    return f"{texts}\n", 1 if found.changes else 0


def carry_out_here(configuration: Configuration, desired: Table, name: str, given: Given) -> str:
    """Prepare this host, the plan's real server *name*, and return what to print."""
    found = propose(configuration, desired, name)
    for refusal in found.refusals:
        if not refusal.forceable or refusal.fix not in given.force:
            raise NotPossible(render.refusal_line(refusal))
    journal = None
    if found.changes:
        forced = ", ".join(given.force) or None
        at = transaction.place()
        journal = transaction.carry_out(
            found, WritableHost(), at, confirm_s=given.confirm_s, forced=forced
        )
    text = render_plan.applied_json if given.form == "json" else render_plan.applied_table
    return text(found, journal, given.confirm_s)


def warn(plans: Mapping[str, Plan]) -> None:
    """Say what `apply` would refuse."""
    for name, plan in plans.items():
        for refusal in plan.refusals:
            said = render.refusal_line(refusal)
            click.echo(f"dirtune: apply would refuse: {name}: {said}", err=True)


def finished(asked: Asked, text: str, done: Mapping[str, Done], given: Given) -> tuple[str, int]:
    """Return what `apply` did, with who answers through the VIP, to print; and the exit status."""
    from dirtune.bench.reach import reach

    found = None
    with suppress(PlanError):  # a plan without clients has nobody to ask from
        found = asyncio.run(reach(_plan.find(asked.where))) if done else None
    status = 0 if found is None or found.whole else 1
    shown = render.finished_json if given.form == "json" else render.finished
    return shown(text, done, found, given.confirm_s), status


def reached(plan: BenchPlan, form: str) -> tuple[str, int]:
    """Return who answers through the VIP, to print, and the exit status."""
    from dirtune.bench.reach import reach

    found = asyncio.run(reach(plan))
    text = render.reach_json(found) if form == "json" else render.reached(found)
    return f"{text}\n", 0 if found.whole else 1


def presets_of(
    plan: BenchPlan,
) -> tuple[dict[str, tuple[Judged, ...]], tuple[DirtuneError, ...]]:
    """Return how each client and real server stands to the presets, and whom nobody could ask."""
    from dirtune import remote

    peers = (
        *((p, "real server") for p in plan.real_servers),
        *((p, "client") for p in plan.clients),
    )
    asked = remote.fetch_all(
        [peer.host for peer, _ in peers],
        presets.SCRIPT,
        presets.parse,
        ssh_config=Path(plan.ssh_config) if plan.ssh_config else None,
        become=plan.become,
    )
    found = {
        peer.label: tuple(presets.judged(role, seen))
        for peer, role in peers
        if isinstance(seen := asked[peer.host], presets.Seen)
    }
    lost = tuple(error for error in asked.values() if isinstance(error, DirtuneError))
    return found, lost


def plans(configuration: Configuration, servers: Sequence[Peer]) -> dict[str, Plan]:
    """Ask every one of *servers* what is to be changed of it; return that by its label."""
    told = _each(configuration, servers, ("plan",))
    return {label: msgspec.json.decode(_known(text), type=Plan) for label, text in told.items()}


@contextmanager
def prepared(
    configuration: Configuration,
    servers: Sequence[Peer],
    given: Given,
) -> Iterator[dict[str, Done]]:
    """Prepare *servers* and yield what was done on each; take it back if what follows fails.

    Each takes it back by itself if it does not hear, when all could be done, that it may stay;
    or, where a confirmation was asked for, if nobody confirms it there in time.
    """
    hold_s = given.confirm_s or (given.drain_s or 0) + _lvs.ANSWER_S + _SETTLE_S
    words = ("apply", f"--confirm={hold_s:g}", *(f"--force={name}" for name in given.force))
    told = _each(configuration, servers, words)
    done = {
        label: msgspec.json.decode(text, type=_Applied)
        for label, text in told.items()
        if isinstance(text, str)
    }
    journals = {label: each.journal for label, each in done.items() if each.journal}
    try:
        for text in told.values():
            _known(text)
        yield {label: each.done for label, each in done.items()}
    except BaseException:
        for label, said in _settle(configuration, servers, "rollback", journals).items():
            click.echo(f"dirtune: {label}: {said}; it does so by itself in time", err=True)
        raise
    if not given.confirm_s and (left := _settle(configuration, servers, "confirm", journals)):
        raise NotPossible("; ".join(f"{label}: {said}" for label, said in left.items()))


def _need(configuration: Configuration, desired: Table, peer: Peer) -> Need:
    if peer.address is None:
        return Need()
    gateway = configuration.director.address
    found = preparation.need(desired, frozenset({peer.address}), gateway)
    return found if found.vips or found.nat else Need()


def _settle(
    configuration: Configuration, servers: Sequence[Peer], command: str, journals: dict[str, str]
) -> dict[str, str]:
    """Keep or take back what was done, everywhere; return what could not be, by label."""
    concerned = tuple(peer for peer in servers if peer.label in journals)
    told = _each(configuration, concerned, (command,), journals)
    return {label: str(said) for label, said in told.items() if not isinstance(said, str)}


def _each(
    configuration: Configuration,
    servers: Sequence[Peer],
    words: Sequence[str],
    journals: dict[str, str] | None = None,
) -> dict[str, str | DirtuneError]:
    """Have the dirtune on each of *servers* do the same; an error is a server's own."""

    async def one(peer: Peer) -> str | DirtuneError:
        if journals is None:
            argv = ("lvs", *words, f"--node={peer.label}", "--format", "json", "-")
            text = _lvs.sent(configuration)
        else:
            argv, text = (*words, journals[peer.label]), ""
        try:
            config = configuration.ssh_config
            out, _ = await _lvs.ask(peer, argv, text, ssh_config=config, wait_s=_ANSWER_S)
        except DirtuneError as error:
            return error
        return out

    async def every() -> list[str | DirtuneError]:
        return await asyncio.gather(*map(one, servers))

    found = asyncio.run(every()) if servers else []
    return {peer.label: each for peer, each in zip(servers, found, strict=True)}


def _known(found: str | DirtuneError) -> str:
    if isinstance(found, DirtuneError):
        raise found
    return found
