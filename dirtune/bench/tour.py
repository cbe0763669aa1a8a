"""Run an entire plan: every control and every combination of its matrix.

Each trial is written to disk, and the next trial is derived from the trials on disk. Therefore an
interrupted run continues with the first missing trial.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import msgspec

from dirtune.analyse.run import Knee, KneeLimit, Run, TrialKind
from dirtune.bench import campaign, judge, matrix
from dirtune.bench.campaign import Keep
from dirtune.bench.matrix import Cell, Slot, prefix
from dirtune.bench.outcome import LoadPath, Order
from dirtune.bench.ports_and_duration import estimate_s
from dirtune.bench.protocols import Rig
from dirtune.bench.search import Search
from dirtune.bench.store import Store
from dirtune.bench.trial import Result
from dirtune.errors import LabError, NodeUnreachable, NotPossible, PlanError, TrialError
from dirtune.plan import generators
from dirtune.plan.tables import Knee as KneePlan
from dirtune.plan.tables import Plan

Visit = Callable[[Cell], AbstractAsyncContextManager[Rig]]
"""A function that prepares the nodes for a cell, and undoes its changes at the end of the
context."""

_CANNOT = (LabError, NodeUnreachable, NotPossible, TrialError)
_SEARCH_TRIALS = 12
_BOOT_S = 90


class Planned(msgspec.Struct, frozen=True):
    """One planned trial, as a dry run lists it."""

    id: str
    cell: str
    offered_rate: float
    """Connections/s in the clients' schedules; the rate of a closed loop is known only after the
    trial."""


class Itinerary(msgspec.Struct, frozen=True):
    """The planned trials of a run (`dirtune/bench-trials/1`)."""

    trials: tuple[Planned, ...]
    """The trials of the sweep, in order."""
    searches: tuple[str, ...]
    """The names of the searches for a knee; their numbers of trials are known only afterwards."""
    refused: tuple[str, ...]
    """The reasons why some combinations or controls cannot be measured."""
    boots: int
    estimate_s: float
    schema: str = "dirtune/bench-trials/1"


def itinerary(plan: Plan, cells: Sequence[Cell]) -> Itinerary:
    """Return the planned trials of *cells*, with an estimate of the total time in seconds."""
    able = _able(cells)
    slots = matrix.slots(plan, able)
    goals = [(cell, goal) for cell in able for goal in _goals(plan, cell)]
    boots = sum(bool(cell.boot) for cell, _ in legs(slots))
    own = estimate_s(plan, len(slots) + boots + len(able) + 2 * len(goals))
    searching = len(goals) * _search_s(plan, plan.knee) if plan.knee is not None else 0.0
    return Itinerary(
        trials=tuple(Planned(slot.id, slot.cell.name, _offered(slot)) for slot in slots),
        searches=tuple(f"{matrix.prefix(cell)}k{goal:g}" for cell, goal in goals),
        refused=matrix.refusals(cells),
        boots=boots,
        estimate_s=own + searching + boots * _BOOT_S,
    )


def _offered(slot: Slot) -> float:
    return generators.offered(slot.rate, clients=len(slot.cell.plan.clients))


def _search_s(plan: Plan, knee: KneePlan) -> float:
    short = msgspec.structs.replace(
        plan.load, ramp=0, warmup=knee.warmup, window=knee.trial, duration=None
    )
    return estimate_s(msgspec.structs.replace(plan, load=short), _SEARCH_TRIALS)


async def carry_out(
    plan: Plan, cells: Sequence[Cell], visit: Visit, kept: Store, keep: Keep
) -> None:
    """Run all trials of the plan that are not on disk yet.

    First comes the sweep of all cells, then the searches for a knee and the trials in which all
    nodes are sampled. Raises `TrialError` if a node was lost and the plan says to stop, and
    `PlanError` if no cell can be measured.
    """
    able = _able(cells)
    if not able:
        raise PlanError("; ".join(matrix.refusals(cells)))
    every = matrix.slots(plan, able)
    for cell, slots in legs(every):
        left = _left(slots, kept)
        if not left:
            continue
        async with AsyncExitStack() as stack:
            try:
                nodes = await stack.enter_async_context(visit(cell))
            except _CANNOT as error:
                _not_reached(left, str(error), kept, keep)
                continue
            if cell.boot:
                await _first(cell, left[0], nodes, keep)
            await campaign.fill(nodes, left, keep, done=kept.run.trials)
            if cell.boot and not _left((slot for slot in every if slot.cell is cell), kept):
                # Searching after the entire sweep would need another boot for each cell.
                await _seek(plan, cell, nodes, kept, keep)
    for cell in able:
        await _look_closer(plan, cell, visit, kept, keep)


async def _first(cell: Cell, slot: Slot, nodes: Rig, keep: Keep) -> None:
    """Run a warm-up trial after a boot.

    The trial is not judged, because the caches are cold. On an emulated director, the first trial
    needs three times as much CPU time, because QEMU translates code when it first runs.
    """
    order = Order(
        f"{prefix(cell)}first-{slot.repeat}", "A", TrialKind.BASELINE, slot.rate, path=cell.path
    )
    await campaign.kept(nodes, cell, cell.plan, order, keep)


def _left(slots: Iterable[Slot], kept: Store) -> list[Slot]:
    return [slot for slot in slots if campaign.attempt(slot, kept.run.trials) is not None]


def legs(slots: Sequence[Slot]) -> Iterator[tuple[Cell, tuple[Slot, ...]]]:
    """Group consecutive trials of a cell.

    The nodes are prepared only once for each group. If the cell needs a boot, each repeat forms a
    group of its own.
    """

    def key(slot: Slot) -> tuple[str, int]:
        return slot.cell.name, slot.repeat if slot.cell.boot else 0

    for _, together in itertools.groupby(slots, key):
        leg = tuple(together)
        yield leg[0].cell, leg


def _able(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    return tuple(cell for cell in cells if cell.refused is None)


def _goals(plan: Plan, cell: Cell) -> tuple[float, ...]:
    return plan.knee.loss if plan.knee is not None and cell.path == LoadPath.IPVS else ()


async def _look_closer(plan: Plan, cell: Cell, visit: Visit, kept: Store, keep: Keep) -> None:
    goals = _sought(plan, cell, kept)
    if not goals and not campaign.to_observe(cell, kept.run.trials):
        return
    async with AsyncExitStack() as stack:
        try:
            nodes = await stack.enter_async_context(visit(cell))
        except _CANNOT as error:
            for goal in goals:
                _keep_knee(kept, Knee(goal, cell.name, None, None, KneeLimit.TRIALS, str(error)))
            return
        await _seek(plan, cell, nodes, kept, keep)


async def _seek(plan: Plan, cell: Cell, nodes: Rig, kept: Store, keep: Keep) -> None:
    """Run the searches for a knee of *cell*, and its trial with samples of all nodes.

    Searches and trials that are on disk are not repeated.
    """
    for goal in _sought(plan, cell, kept):
        _keep_knee(kept, await Search(nodes, cell, goal, keep, kept.run.trials).run())
    await campaign.observe(nodes, cell, keep, done=kept.run.trials)


def _sought(plan: Plan, cell: Cell, kept: Store) -> list[float]:
    known = {(knee.cell, knee.loss_goal) for knee in kept.run.knees}
    return [goal for goal in _goals(plan, cell) if (cell.name, goal) not in known]


def _keep_knee(kept: Store, found: Knee) -> None:
    run: Run = kept.run
    kept.save(msgspec.structs.replace(run, knees=(*run.knees, found)))


def _not_reached(left: Sequence[Slot], reason: str, kept: Store, keep: Keep) -> None:
    """Record each trial of *left* as failed, because the nodes could not be prepared."""
    plan = left[0].cell.plan
    for slot in left:
        number = campaign.attempt(slot, kept.run.trials)
        name = slot.id if number in {None, 1} else f"{slot.id}+{number}"
        order = Order(name, "A", TrialKind.JUDGED, slot.rate)
        trial = judge.failed(order, "", plan, reason)
        keep(Result(msgspec.structs.replace(trial, cell=slot.cell.name), {}))
    if plan.validity.on_lost_node == "stop":
        raise TrialError(f"{left[0].cell.name}: {reason}; the trials so far are kept")
