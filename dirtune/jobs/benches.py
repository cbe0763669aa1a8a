"""The job of `dirtune bench run`: list the trials of a plan, or run and record them."""

import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from dirtune import __version__, signals
from dirtune import plan as plans
from dirtune.analyse import compare, looks
from dirtune.analyse.arms import arms_of
from dirtune.analyse.run import Comparison
from dirtune.bench import campaign, link, looking, matrix, rig, store, tour
from dirtune.bench.hold import held
from dirtune.bench.matrix import Cell
from dirtune.bench.protocols import Rig
from dirtune.bench.rig import LiveRig
from dirtune.bench.store import Store
from dirtune.bench.trial import Result
from dirtune.errors import NodeUnreachable, NotPossible, ParseError, PlanError, TrialError
from dirtune.jobs import booting, notes, plan_files
from dirtune.plan.tables import Plan
from dirtune.tune import record


def dry_run(plan: Plan) -> tour.Itinerary:
    """Return the trials that a run of the plan would do; contact no node."""
    return tour.itinerary(plan, matrix.cells(plan, boots=booting.possible(plan)))


def new(plan: Plan, out: Path, *, aa: bool) -> Store:
    """Create the folder of a new run, and return its store.

    Raises `PlanError` if the run is an A/A run with too few pairs for a noise floor.
    """
    if aa:
        compare.require_pairs(
            plan.load.pairs, f"Set pairs = {compare.LEAST_PAIRS} or more in [load] of the plan."
        )
    cells = () if aa else matrix.cells(plan, boots=booting.possible(plan))
    return store.begin(
        out,
        plan,
        title=plan.title or ("A/A comparison" if aa else "Sweep"),
        command=shlex.join(("dirtune", *sys.argv[1:])),
        cells=tuple(cell.record for cell in cells if cell.name),
        looks=looks.planned(plan.load.pairs, plan.load.at_most) if aa else None,
    )


def interrupted(folder: Path, given: str | None, force: str | None) -> tuple[Plan, Store]:
    """Return the plan and the store of an interrupted run, so that it can continue.

    Raises `PlanError` if the plan *given* is not the run's own plan.
    """
    kept = store.resume(folder)
    try:
        whole = plans.kept(kept.run.plan_document)
    except PlanError as error:
        writer = f"dirtune {kept.run.version}" if kept.run.version else "another dirtune"
        raise PlanError(
            f"{folder}: dirtune {__version__} cannot continue this run, because it cannot read "
            f"the plan: {error}. Use {writer}, which began the run, or begin a new run."
        ) from error
    plan = plans.forced(whole, force)
    if given is not None and plans.forced(plan_files.find(given), plan.load.force) != plan:
        raise PlanError(f"{given} is not the plan of {folder}. Leave it out, or start a new run.")
    return plan, kept


def carry_out(plan: Plan, kept: Store, *, aa: bool) -> None:
    """Run the trials that are missing, and finish the run."""
    if kept.run.finished is None:
        signals.run(_pairs(plan, kept) if aa else _tour(plan, kept))
        if aa:
            _judge_noise(plan, kept)
        kept.save(msgspec.structs.replace(kept.run, finished=record.now()))


async def _pairs(plan: Plan, kept: Store) -> None:
    async with rig.opened(plan) as nodes:
        await run_pairs(plan, kept, nodes)


async def run_pairs(plan: Plan, kept: Store, nodes: Rig) -> None:
    """Run the missing pairs of an A/A run; stop early if a planned look at the results decides."""

    async def reach(plan: Plan) -> None:
        done, keep = kept.run.trials, _keeping(kept)
        await campaign.pairs(nodes, plan, campaign.stay, keep, done=done)

    def judge() -> Comparison:
        return _noise_at(plan, kept, plan.compared_at[0])

    await looking.pairs(plan, kept, reach, judge, notes.progress)


async def _link(plan: Plan, kept: Store) -> None:
    """Measure the throughput between a client and a real server, or note why this failed."""
    if plan.controls is None or not plan.controls.link or kept.run.link:
        return
    try:
        kept.save(msgspec.structs.replace(kept.run, link=await link.measure(plan)))
        notes.progress("  the link was measured")
    except (NodeUnreachable, NotPossible, ParseError, TrialError) as error:
        note = f"The link was not measured (figure 3): {error}"
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
            # Connections that an earlier cell left in the IPVS table are ours and need no wait.
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
    made = [_noise_at(plan, kept, rate) for rate in plan.compared_at]
    for comparison in made:
        floor, rate = comparison.noise_floor, comparison.rate
        shown = (
            "unknown, because too few pairs are valid" if floor is None else f"{100 * floor:.1f} %"
        )
        where = "" if rate is None else f" at {rate:g}/s"
        notes.progress(f"The noise floor of {comparison.metric}{where} is {shown}.")
    comparisons = looks.with_design(made, kept.run.looks)
    kept.save(msgspec.structs.replace(kept.run, comparisons=comparisons))


def _noise_at(plan: Plan, kept: Store, rate: float | None) -> Comparison:
    """Compare the two equal arms at *rate*, and take the noise floor from these arms."""
    metric = plan.compare.primary
    arms = arms_of(kept.run.trials, metric, rate, plan.compare.covariate)
    comparison = compare.compare(
        metric,
        arms,
        threshold=plan.compare.threshold / 100,
        rate=rate,
        alpha=looks.alpha(kept.run.looks),
    )
    return msgspec.structs.replace(comparison, noise_floor=compare.noise_floor(arms))
