"""Run the trials of a comparison or of a sweep, and repeat invalid trials.

A comparison runs pairs: one trial without the fix (arm A) and one trial with it (arm B), directly
after each other. The order alternates (A B, B A, ...), so that drift affects both arms equally. A
pair with an invalid trial is run again under a new number, up to the plan's limit of repetitions;
the run keeps the invalid trial as well.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace

import msgspec

from dirtune.analyse import capacity
from dirtune.analyse.run import Trial, TrialKind, Validity
from dirtune.bench import matrix, relative
from dirtune.bench.matrix import Cell, Slot, prefix
from dirtune.bench.outcome import Order
from dirtune.bench.protocols import Rig
from dirtune.bench.relative import WATCHED
from dirtune.bench.trial import Result, conduct
from dirtune.errors import TrialError
from dirtune.plan.tables import Plan

Switch = Callable[[str], Awaitable[None]]
"""A function that switches the director to arm `A` (without the fix) or `B` (with the fix)."""
Measure = Callable[[Rig, Plan, Order], Awaitable[Result]]
"""A function that runs one trial."""
Keep = Callable[[Result], None]
"""A function that writes a trial to disk and replaces an earlier trial with the same id."""

_AGAIN = re.compile(r"\+\d+$")
"""Matches the end of the id of a repeated trial, such as `+2`."""
_AWAY_MAX = 2


async def stay(arm: str) -> None:
    """Do nothing when the arm changes, for an A/A run, whose two arms are the same."""
    del arm


async def pairs(
    rig: Rig,
    plan: Plan,
    switch: Switch,
    keep: Keep,
    *,
    done: Sequence[Trial] = (),
    measure: Measure = conduct,
) -> int:
    """Run pairs of trials until every rate of the plan has enough valid pairs.

    Return the number of valid pairs at the rate that has the fewest. The rates take turns, so that
    drift affects all rates equally. *done* holds the trials of an interrupted run; an incomplete
    pair is run again. Raises `TrialError` if a node was lost and the plan says to stop.
    """
    number = max((t.pair or 0 for t in done), default=0)
    last = plan.load.pairs * len(plan.pair_rates) + plan.validity.retries
    arm: str | None = None
    away, trials = _Away(), {trial.id: trial for trial in done}

    def note(result: Result) -> None:
        trials[result.trial.id] = result.trial
        keep(result)

    while number < last and (lacking := _lacking(trials, plan, note)):
        number += 1
        results: list[Result] = []
        begun = _begun(trials.values(), plan)
        rate = min(lacking, key=lambda rate: len(begun[rate]))
        for place, next_arm in enumerate(_order(len(begun[rate])), 1):
            if next_arm != arm:
                await switch(next_arm)
                arm = next_arm
            order = Order(
                f"p{number:02}-{place}-{next_arm}", next_arm, TrialKind.JUDGED, rate, number
            )
            result = await measure(rig, plan, order)
            note(result)
            _stop_if_lost(result.trial, plan)
            away.seen(result)
            results.append(result)
            if not result.trial.valid:
                break
        _look_at_pair(results, plan, note)
    return min(_whole_pairs(trials.values(), plan).values())


def _lacking(trials: dict[str, Trial], plan: Plan, note: Keep) -> tuple[float, ...]:
    """Return the rates that still have too few valid pairs.

    Before counting, mark a trial as noisy if the load of this machine differed too much from its
    load during the other trials.
    """
    whole = _whole_pairs(trials.values(), plan)
    if plan.validity.far is not None and max(whole.values()) >= plan.load.pairs:
        enough = [rate for rate, count in whole.items() if count >= plan.load.pairs]
        of = [t for t in trials.values() if _rate_of(t, plan) in enough]
        for trial in relative.far(of, plan.validity.far):
            note(Result(trial, {}))
        whole = _whole_pairs(trials.values(), plan)
    return tuple(rate for rate, count in whole.items() if count < plan.load.pairs)


def repeated(name: str) -> bool:
    """Return whether the trial with the id *name* repeats an invalid trial."""
    return bool(_AGAIN.search(name))


async def sweep(rig: Rig, plan: Plan, keep: Keep, *, done: Sequence[Trial] = ()) -> None:
    """Run trials at the plan's rates, each rate once before any rate is repeated."""
    cell = Cell("", plan)
    await fill(rig, matrix.slots(plan, (cell,)), keep, done=done)


async def fill(
    rig: Rig, slots: Sequence[Slot], keep: Keep, *, done: Sequence[Trial] = ()
) -> tuple[Trial, ...]:
    """Run trials until each of *slots* has a valid trial, and return all trials.

    A slot is one required trial of a sweep. An invalid trial is repeated; the plan's `retries`
    limit the repetitions in the entire run. A trial is not repeated if the clients were the limit
    or a node was unreachable, because the next trial would end in the same way.
    """
    trials, away = list(done), _Away()
    for slot in slots:
        while (number := attempt(slot, trials)) is not None:
            name = slot.id if number == 1 else f"{slot.id}+{number}"
            order = Order(name, "A", TrialKind.JUDGED, slot.rate, path=slot.cell.path)
            result = await _kept(rig, slot.cell, slot.cell.plan, order, keep)
            trials.append(result.trial)
            if away.seen(result):
                break
    return tuple(trials)


def attempt(slot: Slot, done: Sequence[Trial]) -> int | None:
    """Return the number of the next attempt at *slot*, counted from 1.

    *slot* is one required trial of a sweep. The result is None if *slot* needs no further attempt,
    or if the plan's `retries` are used up.
    """
    mine = [t for t in done if t.id == slot.id or t.id.startswith(f"{slot.id}+")]
    if any(trial.validity in {Validity.VALID, Validity.CLIENT_LIMITED} for trial in mine):
        return None
    again = sum(
        repeated(trial.id) for trial in done if trial.kind in {TrialKind.JUDGED, TrialKind.PEAK}
    )
    if mine and again >= slot.cell.plan.validity.retries:
        return None
    return len(mine) + 1


def to_observe(cell: Cell, done: Sequence[Trial]) -> float | None:
    """Return the rate at which all nodes of *cell* should be sampled: the rate of its peak.

    The result is None if the cell already has a trial with sampled nodes, valid or not, or if it
    has no valid trial yet.
    """
    mine = [trial for trial in done if trial.cell == cell.name]
    top = capacity.peak(capacity.curve(mine))
    return None if top is None or any(t.kind == TrialKind.OBSERVED for t in mine) else top.offered


async def observe(rig: Rig, cell: Cell, keep: Keep, *, done: Sequence[Trial]) -> None:
    """Run a trial at the peak rate of *cell*, with every node sampled once a second."""
    rate = to_observe(cell, done)
    if rate is not None:
        name = f"{prefix(cell)}observed"
        order = Order(name, "A", TrialKind.OBSERVED, rate, path=cell.path)
        await kept(rig, cell, cell.plan, order, keep)


async def kept(rig: Rig, cell: Cell, plan: Plan, order: Order, keep: Keep) -> Trial:
    """Run the trial *order* of *cell*, write the trial to disk, and return it.

    Raises `TrialError` if a node was lost and the plan says to stop.
    """
    return (await _kept(rig, cell, plan, order, keep)).trial


async def _kept(rig: Rig, cell: Cell, plan: Plan, order: Order, keep: Keep) -> Result:
    found = await conduct(rig, plan, order)
    result = replace(found, trial=msgspec.structs.replace(found.trial, cell=cell.name))
    keep(result)
    _stop_if_lost(result.trial, plan)
    return result


class _Away:
    """A counter of consecutive trials that could not begin because a node was unreachable."""

    def __init__(self) -> None:
        self._row = 0

    def seen(self, result: Result) -> bool:
        """Count the trial, and return whether a node was unreachable.

        Raises `TrialError` at the second such trial in a row, because further trials would fail as
        well: every trial needs every node.
        """
        self._row = self._row + 1 if result.away else 0
        if self._row == _AWAY_MAX:
            kept_trials = "the trials so far are kept, and --resume continues the run"
            raise TrialError(f"trial {result.trial.id}: {result.trial.reason}; {kept_trials}")
        return result.away


def _order(begun: int) -> str:
    return "BA" if begun % 2 else "AB"


def _begun(trials: Iterable[Trial], plan: Plan) -> dict[float, dict[int, set[str]]]:
    """Return which arms of each pair have a valid trial, by rate and by the number of the pair."""
    found: dict[float, dict[int, set[str]]] = {rate: {} for rate in plan.pair_rates}
    for trial in trials:
        if trial.pair is not None:
            arms = found[_rate_of(trial, plan)].setdefault(trial.pair, set())
            arms |= {trial.arm} if trial.valid else set()
    return found


def _rate_of(trial: Trial, plan: Plan) -> float:
    # The offered rate differs from the requested rate by one or two per cent.
    return min(plan.pair_rates, key=lambda rate: abs(rate - trial.offered_rate))


def _whole_pairs(trials: Iterable[Trial], plan: Plan) -> dict[float, int]:
    return {
        rate: sum(arms == {"A", "B"} for arms in pairs.values())
        for rate, pairs in _begun(trials, plan).items()
    }


def _look_at_pair(results: Sequence[Result], plan: Plan, note: Keep) -> None:
    """Mark both trials of a pair as noisy if they are too different to form a pair."""
    if len(results) < 2 or any(not r.trial.valid for r in results):
        return
    reason = _unlike(results[0].trial, results[1].trial, plan)
    if reason is None:
        return
    for result in results:
        noisy = msgspec.structs.replace(result.trial, validity=Validity.NOISY, reason=reason)
        note(Result(noisy, result.raw, result.profile))


def _unlike(first: Trial, second: Trial, plan: Plan) -> str | None:
    """Describe why two trials are too different to form a pair; None if they are alike."""
    limits = {"steal": plan.validity.pair_steal, "busy": plan.validity.pair_busy}
    for state, apart in limits.items():
        match [trial.host.get(state) for trial in (first, second)]:
            case float(one), float(other) if apart is not None and abs(one - other) > apart:
                return (
                    f"this machine's {WATCHED[state]} was {one:.1f} % in one trial of the pair "
                    f"and {other:.1f} % in the other"
                )
    rates = [trial.metrics.get("connections_per_s") for trial in (first, second)]
    share = plan.validity.pair_rate
    match rates:
        case float(one), float(other) if share is not None:
            if abs(one - other) > share / 100 * max(one, other):
                return (
                    f"the rate was {one:.0f} connections/s in one trial of the pair and "
                    f"{other:.0f} connections/s in the other"
                )
    return None


def _stop_if_lost(trial: Trial, plan: Plan) -> None:
    if trial.validity == Validity.SETUP_ERROR and plan.validity.on_lost_node == "stop":
        raise TrialError(f"trial {trial.id}: {trial.reason}; the trials so far are kept")
