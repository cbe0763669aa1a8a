"""Prepare the real servers of a plan, each with the dirtune that is installed on it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from dirtune import signals
from dirtune.analyse.reach import Reach
from dirtune.analyse.run import Role
from dirtune.change import ip, preparation, presets, transaction
from dirtune.change.documents import AppliedDocument, PlanDocument, SettledDocument
from dirtune.change.plan import Plan
from dirtune.change.preparation import Done, Need, Seen
from dirtune.change.presets import JudgedPreset
from dirtune.change.surroundings import ssh_connection
from dirtune.errors import DirtuneError, NotPossible, PlanError
from dirtune.escape import one_line
from dirtune.host import LiveHost, WritableHost
from dirtune.jobs import lvs_plans, notes, plan_files, snapshots
from dirtune.jobs.directors import Applied
from dirtune.jobs.lvs_plans import ApplyOptions, PlanSource
from dirtune.lvs.model import Table
from dirtune.plan.configuration import Configuration, Peer
from dirtune.plan.tables import Plan as BenchPlan
from dirtune.signals import undisturbed
from dirtune.snapshot import take

_ANSWER_S = 120
_SETTLE_S = 60
_T = TypeVar("_T")


def named(configuration: Configuration, desired: Table) -> tuple[Peer, ...]:
    """Return the real servers that *desired* forwards to and that dirtune can log in to."""
    return tuple(
        peer
        for peer in configuration.real_servers
        if _need(configuration, desired, peer) != Need()
    )


def propose(configuration: Configuration, desired: Table, name: str) -> Plan:
    """Return the changes that this host needs as the plan's real server *name*."""
    peer = next((each for each in configuration.real_servers if each.label == name), None)
    if peer is None:
        raise PlanError(f"real_servers: the plan has no real server {name}")
    host = LiveHost()
    snapshot = take(snapshots.sample(preparation.FIELDS), preparation.FIELDS)
    came = (ssh_connection(host) or "").split()
    seen = Seen(snapshot, ip.default_routes(host), came[0] if came else None)
    return preparation.real_server(_need(configuration, desired, peer), seen)


def carry_out_here(
    configuration: Configuration, desired: Table, name: str, options: ApplyOptions
) -> Applied:
    """Prepare this host as the plan's real server *name*, and return the changes.

    Raises `NotPossible` with the first refusal that is not overruled.
    """
    plan = propose(configuration, desired, name)
    for refusal in plan.refusals:
        if not refusal.name or refusal.name not in options.force:
            raise NotPossible(one_line(refusal.why_not))
    journal = None
    if plan.changes:
        forced = ", ".join(options.force) or None
        at = transaction.place()
        journal = transaction.carry_out(
            plan, WritableHost(), at, confirm_s=options.confirm_s, forced=forced
        )
    return Applied(plan, journal, options.confirm_s)


def warn(plans: Mapping[str, Plan]) -> None:
    """Warn of the changes that `apply` would refuse."""
    for name, plan in plans.items():
        for refusal in plan.refusals:
            reason = one_line(refusal.why_not)
            notes.warning(f"{name}: lvs apply would refuse a change: {reason}")


def who_answers(source: PlanSource) -> tuple[Reach | None, int]:
    """Return which real servers answer (None if unknown), and the exit status of `apply`."""
    try:
        from dirtune.bench.vip_check import reach

        answered = signals.run(reach(_with_clients(source)))
    except PlanError as error:  # such as a plan without clients, which would send the requests
        notes.warning(f"Could not check which real servers answer: {error}")
        return None, 0
    except DirtuneError as error:
        notes.warning(f"Applied, but could not check which real servers answer: {error}")
        return None, 2
    return answered, 0 if answered.whole else 1


def _with_clients(source: PlanSource) -> BenchPlan:
    if source.path is None:
        raise PlanError("The plan on standard input names no clients to send requests from.")
    return plan_files.find(str(source.path))


def reached(plan: BenchPlan) -> Reach:
    """Return which real servers of *plan* answer the requests of its clients through the VIP."""
    from dirtune.bench.vip_check import reach

    return signals.run(reach(plan))


def presets_of(
    plan: BenchPlan,
) -> tuple[dict[str, tuple[JudgedPreset, ...]], tuple[DirtuneError, ...]]:
    """Compare the nodes with the 2001 paper; also return the errors of nodes not read."""
    from dirtune import remote

    roles: dict[str, frozenset[Role]] = {}
    for role, peers in ((Role.REAL_SERVER, plan.real_servers), (Role.CLIENT, plan.clients)):
        for peer in peers:
            roles[peer.label] = roles.get(peer.label, frozenset()) | {role}
    hosts = {peer.label: peer.host for peer in (*plan.real_servers, *plan.clients)}
    answers = remote.fetch_all(
        list(hosts.values()),
        presets.SCRIPT,
        presets.parse,
        ssh_config=Path(plan.ssh_config) if plan.ssh_config else None,
        become=plan.become,
    )
    settings = {
        label: tuple(presets.judged(roles[label], seen))
        for label, host in hosts.items()
        if isinstance(seen := answers[host], presets.Seen)
    }
    lost = tuple(error for error in answers.values() if isinstance(error, DirtuneError))
    return settings, lost


def plans(
    configuration: Configuration, servers: Sequence[Peer]
) -> tuple[dict[str, Plan], tuple[DirtuneError, ...]]:
    """Return the plan of each real server by the server's label, and the errors of the others."""
    answers = _each(configuration, servers, ("plan",), PlanDocument)
    proposals = {
        label: Plan(answer.changes, answer.refusals)
        for label, answer in answers.items()
        if isinstance(answer, PlanDocument)
    }
    return proposals, tuple(
        answer for answer in answers.values() if isinstance(answer, DirtuneError)
    )


def prepared(
    configuration: Configuration,
    servers: Sequence[Peer],
    options: ApplyOptions,
    work: Callable[[], _T],
) -> tuple[_T, dict[str, Done]]:
    """Prepare *servers*, then call *work*; return its result and each server's changes.

    If *work* fails, everything is rolled back. A server also rolls itself back unless it soon gets
    a confirmation. The user confirms if --confirm is given; otherwise this process confirms once
    all servers are prepared, and before the director is changed. If this process dies in between,
    the servers are prepared for nothing. The reverse order could leave a director that forwards to
    servers that have rolled back.
    """
    hold_s = unconfirmed_s(options) or _ANSWER_S + _SETTLE_S
    words = ("apply", f"--confirm={hold_s:g}", *(f"--force={name}" for name in options.force))
    answers = _each(configuration, servers, words, AppliedDocument)
    done = {
        label: one_answer
        for label, one_answer in answers.items()
        if isinstance(one_answer, AppliedDocument)
    }
    journals = {
        label: one_answer.journal for label, one_answer in done.items() if one_answer.journal
    }
    with undisturbed() as section:
        try:
            with section.interruptible():
                _require(answers.values())
                if not options.confirm_s:
                    _confirm(configuration, servers, journals)
                return work(), {label: _done(answer) for label, answer in done.items()}
        except BaseException:
            for label, why in _settle(configuration, servers, "rollback", journals).items():
                notes.warning(f"{label} was not rolled back: {why}")
            raise


def _done(answer: AppliedDocument) -> Done:
    return Done(answer.journal, tuple(change.title for change in answer.changes))


def unconfirmed_s(options: ApplyOptions) -> float:
    """Return the seconds that real servers wait for the user to confirm; 0 without --confirm.

    Real servers wait longer than the director, which is prepared later and has to roll back first.
    The time therefore includes the draining of connections.
    """
    return options.confirm_s and options.confirm_s + (options.drain_s or 0) + _ANSWER_S


def _need(configuration: Configuration, desired: Table, peer: Peer) -> Need:
    if peer.address is None:
        return Need()
    gateway = configuration.director.address
    found = preparation.need(desired, frozenset({peer.address}), gateway)
    return found if found.vips or found.nat else Need()


def _require(answers: Iterable[object]) -> None:
    for answer in answers:
        if isinstance(answer, DirtuneError):
            raise answer


def _confirm(
    configuration: Configuration, servers: Sequence[Peer], journals: dict[str, str]
) -> None:
    left = _settle(configuration, servers, "confirm", journals)
    if left:
        raise NotPossible("; ".join(f"{label}: {why}" for label, why in left.items()))


def _settle(
    configuration: Configuration, servers: Sequence[Peer], command: str, journals: dict[str, str]
) -> dict[str, str]:
    """Confirm or roll back every journal; return the error of each failure, by label."""

    async def one(peer: Peer) -> SettledDocument:
        return await _ask(configuration, peer, (command, journals[peer.label]), SettledDocument)

    answers = _at_once([peer for peer in servers if peer.label in journals], one)
    return {
        label: str(error) for label, error in answers.items() if isinstance(error, DirtuneError)
    }


def _each(
    configuration: Configuration, servers: Sequence[Peer], words: Sequence[str], kind: type[_T]
) -> dict[str, _T | DirtuneError]:
    """Run one `lvs` command on each of *servers*; return each server's answer or error."""
    sent = lvs_plans.sent(configuration)

    async def one(peer: Peer) -> _T:
        call = ("lvs", *words, f"--node={peer.label}", "-")
        return await _ask(configuration, peer, call, kind, sent)

    return _at_once(servers, one)


async def _ask(
    configuration: Configuration, peer: Peer, words: Sequence[str], kind: type[_T], text: str = ""
) -> _T:
    """Run the command *words* with the dirtune on *peer*; a lost connection ends the command."""
    from dirtune.remote.far_dirtune import opened

    config = Path(configuration.ssh_config) if configuration.ssh_config else None
    far_dirtune = opened(peer.host, ssh_config=config, become=peer.become, program=peer.dirtune)
    async with far_dirtune as far:
        answer = await far.ask(words, kind, text=text, ok=(0, 1), timeout_s=_ANSWER_S)
    for row in answer.warnings:
        notes.warning(f"{peer.label}: {row}")
    return answer.document


def _at_once(
    servers: Sequence[Peer], ask: Callable[[Peer], Awaitable[_T]]
) -> dict[str, _T | DirtuneError]:
    if not servers:
        return {}
    from dirtune.remote import CONNECTIONS_AT_ONCE

    gate = asyncio.Semaphore(CONNECTIONS_AT_ONCE)

    async def one(peer: Peer) -> _T | DirtuneError:
        async with gate:
            try:
                return await ask(peer)
            except DirtuneError as error:
                return error

    async def every() -> list[_T | DirtuneError]:
        return await asyncio.gather(*map(one, servers))

    answers = signals.run(every())
    return {peer.label: answer for peer, answer in zip(servers, answers, strict=True)}
