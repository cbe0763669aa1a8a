"""Plan and apply the changes to a plan's director, which is this host or another one."""

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dirtune.change.plan import Plan, joined, overruled_by
from dirtune.change.table import FRESH, Changes, edits
from dirtune.errors import ApplyError, NotPossible
from dirtune.escape import one_line
from dirtune.host import LiveHost
from dirtune.jobs import lvs_plans, notes
from dirtune.jobs.lvs_plans import ApplyOptions, PlanSource
from dirtune.jobs.root import require_root
from dirtune.lvs import kernel
from dirtune.lvs.diff import Step, diff, touched
from dirtune.lvs.documents import DirectorPlanDocument
from dirtune.lvs.model import Table

if TYPE_CHECKING:
    from dirtune.lvs.guard import Refusal

_UNDO_S = 3.0
"""Seconds within which a watchdog begins to undo overdue changes."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """The changes that a plan would make to this host."""

    actual: Table
    steps: tuple[Step, ...]
    changes: Changes
    refusals: "tuple[Refusal, ...]"
    loaded: bool
    settings: Plan
    """The changes that the host needs to settings outside IPVS."""


@dataclass(frozen=True, slots=True)
class Planned:
    """The changes that `apply` would make on a director, here or on another host."""

    document: DirectorPlanDocument
    changes: Changes
    steps: tuple[Step, ...]
    actual: Table
    """The current table; empty, as *changes* and *steps* are, if only the document was read."""
    pending: bool
    """Whether there is anything to do."""
    for_kube_proxy: Table | None = None
    """The planned table if kube-proxy owns the current one, and so must set up the plan."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The changes that were made on this host or another one."""

    plan: Plan
    journal: str | None
    """The name of the journal; None if there was nothing to do."""
    confirm_s: float
    """Seconds until an unconfirmed change is rolled back; 0 if it needs no confirmation."""


def planned(
    source: PlanSource, desired: Table, options: ApplyOptions, *, here: bool, in_full: bool
) -> Planned:
    """Return what `apply` would change on the plan's director.

    Unless *in_full*, dirtune does not read the table of another host: the result then has the JSON
    document, but no steps and an empty table.
    """
    if lvs_plans.is_here(source, here=here):
        return planned_here(desired, options)
    from dirtune.jobs import far_directors

    return far_directors.planned(source, desired, options, in_full=in_full)


def planned_here(desired: Table, options: ApplyOptions) -> Planned:
    """Return what `apply` would change on this host, and warn of what it would refuse."""
    proposal = propose(desired, options)
    for _, reason in against(proposal):
        notes.warning(f"lvs apply would refuse: {reason}")
    planned = _planned(proposal)
    if any(refusal.name == "kube-proxy" for refusal in proposal.refusals):
        return replace(planned, for_kube_proxy=desired)
    return planned


def _planned(proposal: Proposal) -> Planned:
    from dirtune.change import preparation

    changes, steps, actual = proposal.changes, proposal.steps, proposal.actual
    document = preparation.director_document(changes, steps, actual, proposal.settings)
    return Planned(
        document, changes, steps, actual, pending=bool(steps or proposal.settings.changes)
    )


def apply(source: PlanSource, desired: Table, options: ApplyOptions) -> Applied:
    """Set up the plan's director, here or on another host, and return the changes."""
    if lvs_plans.is_here(source, here=False):
        return apply_here(desired, options)
    from dirtune.jobs import far_directors

    return far_directors.apply(source, options)


def require_ready(source: PlanSource, desired: Table, options: ApplyOptions) -> None:
    """Raise the error that `apply` would raise for the plan's director; change nothing."""
    if lvs_plans.is_here(source, here=False):
        allowed_here(desired, options)
        return
    from dirtune.jobs import far_directors

    far_directors.require_ready(source, options)


def rehearsed(
    source: PlanSource, desired: Table, options: ApplyOptions, *, here: bool
) -> Planned | None:
    """Return what `apply` would change on this host; raises the same errors as `apply`.

    If the director is another host, the dirtune there makes the checks, and the result is None.
    """
    if lvs_plans.is_here(source, here=here):
        return _planned(allowed_here(desired, options))
    require_ready(source, desired, options)
    return None


def apply_here(desired: Table, options: ApplyOptions) -> Applied:
    """Set this host up as a director, and return the changes.

    Raises `ApplyError` or `NotPossible`, with the reason, if a change is refused.
    """
    return carry_out(allowed_here(desired, options), options.confirm_s, options.force)


def allowed_here(desired: Table, options: ApplyOptions) -> Proposal:
    """Return the changes that this host needs; raises an error if `apply` must not make them."""
    require_root("lvs apply")
    proposal = propose(desired, options)
    require_expected(proposal, options.expect)
    require_allowed(proposal, options.force, load=options.load)
    return proposal


def propose(desired: Table, options: ApplyOptions) -> Proposal:
    """Return the changes that turn this host's IPVS table into *desired*, and the refusals."""
    if options.checker is not None:
        from dirtune.jobs import keepalived_directors

        return keepalived_directors.propose(
            desired, options.checker, _settings(desired), drain_s=options.drain_s
        )
    host = LiveHost()
    loaded = kernel.loaded(host)
    actual = _read(host) if loaded else FRESH
    settings = _settings(desired)
    planned = edits(actual, desired, drain_s=options.drain_s)
    if not planned:  # without a change, nothing can be refused
        return Proposal(actual, (), Changes(), (), loaded, settings)
    from dirtune.lvs import guard

    changed = touched(actual, desired)[1]
    around = guard.look_around(host, changed)
    refusals = guard.refusals(actual, changed, around)
    steps = diff(actual, desired)
    return Proposal(actual, steps, Changes(around.modules, planned), refusals, loaded, settings)


def _settings(desired: Table) -> Plan:
    """Return the changes to sysctls and other settings that a director with NAT needs here."""
    if not any(d.forwarding == "nat" for s in desired.services for d in s.destinations):
        return Plan()
    from dirtune.change import preparation
    from dirtune.jobs import snapshots
    from dirtune.snapshot import take

    snapshot = take(snapshots.sample(preparation.FIELDS), preparation.FIELDS)
    return preparation.director(desired, snapshot)


def require_expected(proposal: Proposal, digest: str | None) -> None:
    """Raise `ApplyError` if the digest of the current IPVS table is not *digest*."""
    if digest is not None and digest != proposal.actual.digest:
        now = proposal.actual.digest
        raise ApplyError(
            f"The IPVS table changed: its digest is {now}, not {digest}. Run dirtune lvs plan "
            "again."
        )


def require_allowed(proposal: Proposal, force: tuple[str, ...], *, load: bool) -> None:
    """Raise `NotPossible` with the first refusal that *force* does not overrule."""
    if proposal.steps and not proposal.loaded and not load:
        raise NotPossible("The module ip_vs is not loaded. Let dirtune load it: --load")
    for name, reason in against(proposal):
        if not name or name not in force:
            raise NotPossible(reason)


def against(proposal: Proposal) -> tuple[tuple[str, str], ...]:
    """Return each refusal of a proposal as its name for `--force` and a line with the reason."""
    table, settings = proposal.refusals, proposal.settings.refusals
    return (
        *((refusal.name, f"{refusal.why}{overruled_by(refusal.name)}") for refusal in table),
        *((refusal.name, one_line(refusal.why_not)) for refusal in settings),
    )


def carry_out(proposal: Proposal, confirm_s: float, force: tuple[str, ...]) -> Applied:
    """Apply *proposal*; *confirm_s* is the time to confirm it in seconds, 0 for no limit."""
    from dirtune.change import table, transaction
    from dirtune.host import WritableHost

    plan = joined((proposal.settings, table.plan(proposal.changes)))
    journal = None
    if plan.changes:
        journal = transaction.carry_out(
            plan,
            WritableHost(),
            transaction.place(),
            confirm_s=confirm_s,
            forced=", ".join(force) or None,
        )
    return Applied(plan, journal, confirm_s)


def require_standing_here(applied: Applied) -> None:
    """Raise `ApplyError` if the changes to this host were not confirmed in time."""
    from dirtune.change import overdue, transaction

    if applied.journal is not None:
        overdue.require_standing(transaction.place(), LiveHost(), applied.journal)


def require_standing(
    source: PlanSource, desired: Table, options: ApplyOptions, applied: Applied, elapsed_s: float
) -> None:
    """Raise `ApplyError` if the plan's director has rolled *applied* back.

    *elapsed_s* is the time since the changes were applied. Another host is asked only if the time
    to confirm is over.
    """
    if lvs_plans.is_here(source, here=False):
        require_standing_here(applied)
        return
    if applied.journal is None or not 0 < applied.confirm_s <= elapsed_s:
        return
    from dirtune.jobs import far_directors

    time.sleep(_UNDO_S)
    now = far_directors.planned(source, desired, replace(options, drain_s=None), in_full=False)
    if now.pending:
        raise ApplyError(
            f"{source.configuration.director.host}: {applied.journal} was rolled back: not "
            "confirmed in time. Apply the changes again."
        )


def _read(host: LiveHost) -> Table:
    with kernel.opened(host) as ipvs:
        return ipvs.read()
