"""Carrying a plan's traffic out, for `dirtune bench run`."""

import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from dirtune import __version__, signals
from dirtune import plan as plans
from dirtune.analyse import compare
from dirtune.analyse.arms import arms_of
from dirtune.analyse.run import Run
from dirtune.bench import campaign, link, matrix, rig, store, tour
from dirtune.bench.hold import held
from dirtune.bench.matrix import Cell
from dirtune.bench.rig import LiveRig
from dirtune.bench.store import Store
from dirtune.bench.trial import Result
from dirtune.errors import NodeUnreachable, NotPossible, ParseError, PlanError, TrialError
from dirtune.jobs import booting, notes, plan_files
from dirtune.plan.tables import Plan


def dry_run(plan: Plan) -> tour.Itinerary:
    """Return what a run would do; reaches nothing."""
    return tour.itinerary(plan, matrix.cells(plan, boots=booting.possible(plan)))


def new(plan: Plan, out: Path, *, aa: bool) -> Store:
    """Make the folder of a new run."""
    cells = () if aa else matrix.cells(plan, boots=booting.possible(plan))
    run = Run(
        id=store.new_id(out, datetime.now(UTC)),
        started=now(),
        finished=None,
        command=shlex.join(("dirtune", *sys.argv[1:])),
        version=__version__,
        title=plan.title or ("A/A comparison" if aa else "Sweep"),
        plan_document=msgspec.to_builtins(plan),
        scenario=None,
        inventory={},
        primary_metric=plan.compare.primary,
        audits={},
        handlers={},
        trials=(),
        forecast=None,
        comparisons=(),
        steps=(),
        verdict=None,
        notes=plan.notes,
        cells=tuple(cell.record for cell in cells if cell.name),
    )
    return store.create(out, run)


def interrupted(folder: Path, given: str | None, force: str | None) -> tuple[Plan, Store]:
    """Return the plan and the store of a run to go on with; a plan *given* must be the same."""
    kept = store.resume(folder)
    try:
        whole = plans.kept(kept.run.plan_document)
    except PlanError as error:
        writer = f"dirtune {kept.run.version}" if kept.run.version else "another dirtune"
        raise PlanError(
            f"{folder}: dirtune {__version__} cannot go on with this run, because it cannot read "
            f"the plan: {error}. Use {writer}, which began the run, or begin a new run."
        ) from error
    plan = plans.forced(whole, force)
    if given is not None and plans.forced(plan_files.find(given), plan.load.force) != plan:
        raise PlanError(f"{given}: is not the plan of {folder}: leave it out, or begin a new run")
    return plan, kept


def carry_out(plan: Plan, kept: Store, *, aa: bool) -> None:
    """Do what is left of the run and close it."""
    if kept.run.finished is None:
        signals.run(_pairs(plan, kept) if aa else _tour(plan, kept))
        if aa:
            _judge_noise(plan, kept)
        kept.save(msgspec.structs.replace(kept.run, finished=now()))


async def _pairs(plan: Plan, kept: Store) -> None:
    async with rig.opened(plan) as nodes:
        await campaign.pairs(nodes, plan, campaign.stay, _keeping(kept), done=kept.run.trials)


async def _link(plan: Plan, kept: Store) -> None:
    """Measure the link once; a link that cannot be measured is no reason not to bench."""
    if plan.controls is None or not plan.controls.link or kept.run.link:
        return
    try:
        kept.save(msgspec.structs.replace(kept.run, link=await link.measure(plan)))
        notes.progress("  link measured")
    except (NodeUnreachable, NotPossible, ParseError, TrialError) as error:
        note = f"Figure 3: the link was not measured: {error}"
        kept.save(msgspec.structs.replace(kept.run, notes=(*kept.run.notes, note)))
        notes.progress(f"  {note}")


async def _tour(plan: Plan, kept: Store) -> None:
    await _link(plan, kept)
    cells = matrix.cells(plan, boots=booting.possible(plan))
    ours: set[str | None] = set()
    with booting.booting(cells) as boot:

        @asynccontextmanager
        async def visit(cell: Cell) -> AsyncIterator[LiveRig]:
            if cell.name:
                notes.progress(f"{cell.name}:")
            there = boot(cell)
            vip = there.service.vip
            # What an earlier visit left in the table is ours, and need not be waited for.
            opened = rig.opened(there, alone=vip in ours, clients=plan.clients)
            async with held(there, cell.holds), opened as nodes:
                yield nodes
                if nodes.alone:
                    ours.add(vip)

        await tour.carry_out(plan, cells, visit, kept, _keeping(kept))


def _keeping(kept: Store) -> campaign.Keep:
    def keep(result: Result) -> None:
        kept.keep(result)
        trial = result.trial
        label = trial.validity if trial.reason is None else f"{trial.validity}: {trial.reason}"
        notes.progress(f"  {trial.id}  {trial.reply_rate:.1f} replies/s  {label}")

    return keep


def _judge_noise(plan: Plan, kept: Store) -> None:
    metric = plan.compare.primary
    made = []
    for rate in plan.compared_at:
        arms = arms_of(kept.run.trials, metric, rate)
        floor = compare.noise_floor(arms)
        found = compare.compare(metric, arms, threshold=plan.compare.threshold / 100, rate=rate)
        made.append(msgspec.structs.replace(found, noise_floor=floor))
        said = "not known: too few valid pairs" if floor is None else f"{floor:.1%}"
        where = "" if rate is None else f" at {rate:g}/s"
        notes.progress(f"noise floor of {metric}{where}: {said}")
    kept.save(msgspec.structs.replace(kept.run, comparisons=tuple(made)))


def announced(found: tour.Itinerary) -> str:
    """Return a dry run for a terminal."""
    lines = [f"{trial.id}  {trial.offered_rate:g}/s" for trial in found.trials]
    lines += [f"{name}  a search for the knee" for name in found.searches]
    lines += [f"not carried out: {reason}" for reason in found.refused]
    boots = f", {found.boots} boots" if found.boots else ""
    total = f"{len(found.trials)} trials, {len(found.searches)} searches{boots}"
    return "\n".join([*lines, f"{total}: about {found.estimate_s / 60:.0f} min"])


def now() -> str:
    """Return the time of day in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
