"""The director of a plan, here or on another host: what would change of it, and the change."""

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dirtune.change.plan import Plan, joined
from dirtune.change.table import FRESH, Changes, edits
from dirtune.errors import ApplyError, NotPossible
from dirtune.host import LiveHost
from dirtune.jobs import lvs_plans, notes
from dirtune.jobs.lvs_plans import Given, PlanSource
from dirtune.jobs.root import require_root
from dirtune.lvs import kernel
from dirtune.lvs.diff import Step, diff, touched
from dirtune.lvs.model import Table

if TYPE_CHECKING:
    from dirtune.lvs.guard import Refusal


@dataclass(frozen=True, slots=True)
class Proposal:
    """The changes that a plan would make to this host."""

    actual: Table
    steps: tuple[Step, ...]
    changes: Changes
    refusals: "tuple[Refusal, ...]"
    loaded: bool
    settings: Plan
    """Further settings that the host needs."""


def plain(form: str) -> str:
    """Return the format of the text that `cells.block` makes *form* of."""
    return "table" if form == "markdown" else form


def planned(
    source: PlanSource, desired: Table, *, here: bool, drain_s: float | None, form: str
) -> tuple[str, int]:
    """Return what `apply` would change of the plan's director, to print, and the exit status."""
    if lvs_plans.is_here(source, here=here):
        return planned_here(desired, drain_s=drain_s, form=form)
    from dirtune.jobs import far_directors

    return far_directors.planned(source, desired, drain_s=drain_s, form=form)


def planned_here(desired: Table, *, drain_s: float | None, form: str) -> tuple[str, int]:
    """Return what `apply` would change of this host, to print, and the exit status."""
    proposal = propose(desired, drain_s=drain_s)
    for _, reason in against(proposal):
        notes.warning(f"apply would refuse: {reason}")
    changes = proposal.steps or proposal.settings.changes
    return _proposed(proposal, form), 1 if changes else 0


def _proposed(proposal: Proposal, form: str) -> str:
    from dirtune.render import lvs_diff as render
    from dirtune.render import preparation

    show = {"json": render.document, "markdown": render.markdown}.get(form, render.table)
    text = show(proposal.changes, proposal.steps, proposal.actual)
    return preparation.before(f"{text}\n", proposal.settings, form)


def apply(source: PlanSource, desired: Table, given: Given) -> str:
    """Set up the plan's director, here or there, and return what to print."""
    if lvs_plans.is_here(source, here=False):
        return apply_here(desired, given)
    from dirtune.jobs import far_directors

    return far_directors.apply(source, given)


def require_ready(source: PlanSource, desired: Table, given: Given) -> None:
    """Raise what `apply` would of the plan's director as it is; nothing is changed."""
    if lvs_plans.is_here(source, here=False):
        allowed_here(desired, given)
        return
    from dirtune.jobs import far_directors

    far_directors.require_ready(source, given)


def rehearsed(source: PlanSource, desired: Table, given: Given, *, here: bool) -> str:
    """Return what `apply` would do to this host, to print; it raises what `apply` would.

    Where the director is another host, it is source, and there is nothing to print.
    """
    if lvs_plans.is_here(source, here=here):
        return _proposed(allowed_here(desired, given), given.form)
    require_ready(source, desired, given)
    return ""


def apply_here(desired: Table, given: Given) -> str:
    """Set this host up as a director and return what to print."""
    return carry_out(allowed_here(desired, given), given.confirm_s, given.force, given.form)


def allowed_here(desired: Table, given: Given) -> Proposal:
    """Return what is to be done to this host; an error if anything stands against it."""
    require_root("lvs apply")
    proposal = propose(desired, drain_s=given.drain_s)
    require_expected(proposal, given.expect)
    require_allowed(proposal, given.force, load=given.load)
    return proposal


def propose(desired: Table, *, drain_s: float | None) -> Proposal:
    """Look at this host and say what *desired* would change of it."""
    host = LiveHost()
    loaded = kernel.loaded(host)
    actual = _read(host) if loaded else FRESH
    settings = _settings(desired)
    planned = edits(actual, desired, drain_s=drain_s)
    if not planned:  # then nothing stands against it, and nobody need be looked for
        return Proposal(actual, (), Changes(), (), loaded, settings)
    from dirtune.lvs import guard

    changed = touched(actual, desired)[1]
    around = guard.look_around(host, changed)
    refusals = guard.refusals(actual, changed, around)
    steps = diff(actual, desired)
    return Proposal(actual, steps, Changes(around.modules, planned), refusals, loaded, settings)


def _settings(desired: Table) -> Plan:
    """Look at what a director with NAT needs of this host."""
    if not any(d.forwarding == "nat" for s in desired.services for d in s.destinations):
        return Plan()
    from dirtune.change import preparation
    from dirtune.jobs import snapshots
    from dirtune.snapshot import take

    snapshot = take(snapshots.sample(preparation.FIELDS), preparation.FIELDS)
    return preparation.director(desired, snapshot)


def require_expected(proposal: Proposal, digest: str | None) -> None:
    """Raise `ApplyError` if the table is another than *digest* names."""
    if digest is not None and digest != proposal.actual.digest:
        now = proposal.actual.digest
        raise ApplyError(
            f"The IPVS table changed: its digest is {now}, not {digest}. Look at a new plan"
        )


def require_allowed(proposal: Proposal, force: tuple[str, ...], *, load: bool) -> None:
    """Raise `NotPossible` for the first thing that stands against it and is not overruled."""
    if proposal.steps and not proposal.loaded and not load:
        raise NotPossible("ip_vs is not loaded. Allow dirtune to load it: --load")
    for name, reason in against(proposal):
        if not name or name not in force:
            raise NotPossible(reason)


def against(proposal: Proposal) -> tuple[tuple[str, str], ...]:
    """Return what stands against a proposal: what `--force` calls it, and a line on it."""
    from dirtune.render import preparation as render

    settings = proposal.settings.refusals
    return (
        *((refusal.name, _line(refusal)) for refusal in proposal.refusals),
        *((refusal.name, render.refusal_line(refusal)) for refusal in settings),
    )


def _line(refusal: "Refusal") -> str:
    force = f"; --force {shlex.quote(refusal.name)} allows the change" if refusal.name else ""
    return f"{refusal.why}{force}"


def carry_out(proposal: Proposal, confirm_s: float, force: tuple[str, ...], form: str) -> str:
    """Apply a proposal and return what to print."""
    from dirtune.change import table, transaction
    from dirtune.host import WritableHost
    from dirtune.render import plan as render_plan

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
    render = render_plan.applied_json if form == "json" else render_plan.applied_table
    return render(plan, journal, confirm_s)


def _read(host: LiveHost) -> Table:
    with kernel.opened(host) as ipvs:
        return ipvs.read()
