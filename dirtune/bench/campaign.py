"""Trials in their order: interleaved pairs of two arms, or a sweep of rates.

Two trials of a pair lie close in time and their order alternates (A B, B A, ...), so that drift
falls on both arms alike. A pair with a trial that does not count is run again under a new number,
a bounded number of times; what did not count stays in the record.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import msgspec

from dirtune.analyse import capacity
from dirtune.analyse.run import Knee, Trial
from dirtune.bench import knee, matrix
from dirtune.bench import plan as plans
from dirtune.bench.matrix import Cell, Slot, prefix
from dirtune.bench.outcome import Order
from dirtune.bench.plan import Knee as KneePlan
from dirtune.bench.plan import Plan
from dirtune.bench.trial import Result, Rig, conduct
from dirtune.errors import TrialError

Switch = Callable[[str], Awaitable[None]]
"""Brings the director into arm `A` or `B`."""
Keep = Callable[[Result], None]
"""Puts a trial on disk, replacing one of the same id."""

_AROUND = (0.95, 1.05)
_CEILING = 0.8
_AGAIN = re.compile(r"\+\d+$")
"""How the ids of trials that were run again end."""


async def stay(arm: str) -> None:
    """Switch nothing: both arms are the same, and the comparison is an A/A run."""
    del arm


async def pairs(
    rig: Rig,
    plan: Plan,
    switch: Switch,
    keep: Keep,
    *,
    done: Sequence[Trial] = (),
) -> int:
    """Run pairs until the plan's number is valid, and return how many are.

    *done* are the trials of an interrupted campaign; a pair that was cut in two is begun anew.
    `TrialError` if a node was lost and the plan says to stop.
    """
    number = max((t.pair or 0 for t in done), default=0)
    valid = _whole_pairs(done)
    last = plan.load.pairs + plan.validity.retries
    arm: str | None = None
    while valid < plan.load.pairs and number < last:
        number += 1
        results: list[Result] = []
        for place, wanted in enumerate(_order(number), 1):
            if wanted != arm:
                await switch(wanted)
                arm = wanted
            result = await conduct(rig, plan, _judged(plan, number, place, wanted))
            keep(result)
            _stop_if_lost(result.trial, plan)
            results.append(result)
            if result.trial.validity != "valid":
                break
        valid += _pair_counts(results, plan, keep)
    return valid


async def sweep(rig: Rig, plan: Plan, keep: Keep, *, done: Sequence[Trial] = ()) -> None:
    """Run each rate of the plan, all rates once before any is repeated."""
    cell = Cell("", plan)
    await fill(rig, matrix.slots(plan, (cell,)), keep, done=done)


async def fill(
    rig: Rig, slots: Sequence[Slot], keep: Keep, *, done: Sequence[Trial] = ()
) -> tuple[Trial, ...]:
    """Run trials of one cell until each slot has one that counts, and return all of them.

    A slot whose trial did not count is tried again as often as the plan's `retries` allow for
    the whole campaign; one that the clients limited would be limited again.
    """
    trials = list(done)
    for slot in slots:
        while (number := attempt(slot, trials)) is not None:
            name = slot.id if number == 1 else f"{slot.id}+{number}"
            order = Order(name, "A", "judged", slot.rate, path=slot.cell.path)
            trials.append(await _kept(rig, slot.cell, slot.cell.plan, order, keep))
    return tuple(trials)


def attempt(slot: Slot, done: Sequence[Trial]) -> int | None:
    """Return the number of the slot's next trial, 1 for its first; None if it needs none."""
    mine = [t for t in done if t.id == slot.id or t.id.startswith(f"{slot.id}+")]
    if any(trial.validity in {"valid", "client_limited"} for trial in mine):
        return None
    again = sum(bool(_AGAIN.search(trial.id)) for trial in done)
    if mine and again >= slot.cell.plan.validity.retries:
        return None
    return len(mine) + 1


async def find_knee(
    rig: Rig, cell: Cell, goal: float, keep: Keep, *, done: Sequence[Trial] = ()
) -> Knee:
    """Search for the highest rate at which no more than *goal* is lost, and confirm it."""
    asked = cell.plan.knee or KneePlan()
    name = f"{prefix(cell)}k{goal:g}"
    mine = {trial.id: trial for trial in done if trial.id.startswith(f"{name}-")}
    where = knee.space(asked, ceiling(cell.plan, done), plans.seconds(asked.trial))
    log: list[tuple[knee.Ask, Trial]] = []
    while isinstance(ask := knee.following(where, goal, [_seen(t) for _, t in log]), knee.Ask):
        order = Order(f"{name}-{len(log) + 1:02}", "A", "search", ask.rate)
        trial = await _answer(
            rig, cell, _lasting(cell.plan, asked, ask.window_s), order, keep, mine
        )
        if trial.validity not in {"valid", "client_limited"}:
            return _gave_up(goal, cell, trial, mine)
        log.append((ask, trial))
    found = _knee(goal, cell, ask, log, mine)
    if found.rate is None:
        return found
    return await _confirm(rig, cell, found, name, keep, mine)


def ceiling(plan: Plan, done: Sequence[Trial]) -> float:
    """Return the highest rate to ask the clients for: the plan's, or what they are known to make.

    Where they failed against a server of their own, nothing is to be trusted above 80 per cent
    of what they made there; where they did not, their ceiling is not known.
    """
    highest = (plan.knee or KneePlan()).highest or max(plan.load.rates)
    own = [trial for trial in done if trial.cell == "null_server" and trial.attempted]
    made = [t.offered_rate for t in own if t.validity == "valid" and t.replied == t.attempted]
    failed = [t.offered_rate for t in own if t.offered_rate not in made]
    return min(highest, _CEILING * max(made)) if made and failed else highest


def to_observe(cell: Cell, done: Sequence[Trial]) -> float | None:
    """Return the rate at which the cell's nodes are to be looked at, its peak.

    None if it was done (once, whatever came out), or no trial of the cell counts.
    """
    mine = [trial for trial in done if trial.cell == cell.name]
    top = capacity.peak(capacity.curve(mine))
    return None if top is None or any(t.kind == "observed" for t in mine) else top.offered


async def observe(rig: Rig, cell: Cell, keep: Keep, *, done: Sequence[Trial]) -> None:
    """Sample every node once a second at the cell's peak."""
    rate = to_observe(cell, done)
    if rate is not None:
        name = f"{prefix(cell)}observed"
        order = Order(name, "A", "observed", rate, path=cell.path)
        await _kept(rig, cell, cell.plan, order, keep)


def _lasting(plan: Plan, asked: KneePlan, window_s: float) -> Plan:
    load = msgspec.structs.replace(plan.load, warmup=asked.warmup, window=window_s, duration=None)
    return msgspec.structs.replace(plan, load=load)


async def _answer(
    rig: Rig, cell: Cell, plan: Plan, order: Order, keep: Keep, mine: dict[str, Trial]
) -> Trial:
    """Return the trial of this place in the search: that on disk, or a new one."""
    number = 1
    while True:
        name = order.id if number == 1 else f"{order.id}+{number}"
        trial = mine.get(name)
        if trial is None:
            trial = await _kept(rig, cell, plan, replace(order, id=name), keep)
            mine[name] = trial
        again = sum(bool(_AGAIN.search(known)) for known in mine)
        if trial.validity == "valid" or again >= cell.plan.validity.retries:
            return trial
        if trial.validity == "client_limited" and order.id.endswith("-01"):
            return trial
        number += 1


def _seen(trial: Trial) -> knee.Seen:
    return knee.Seen(trial.attempted, trial.replied, trial.validity == "client_limited")


def _knee(
    goal: float,
    cell: Cell,
    bounds: knee.Bounds,
    log: list[tuple[knee.Ask, Trial]],
    mine: dict[str, Trial],
) -> Knee:
    # What the generators' ticks came to may differ from what the search asked for.
    offered = {ask.rate: trial.offered_rate for ask, trial in log}
    met = sum(t.attempted for _, t in log if t.attempted - t.replied <= goal * t.attempted)
    valid = sum(trial.validity == "valid" for _, trial in log)
    return Knee(
        loss_goal=goal,
        cell=cell.name,
        rate=None if bounds.lower is None else offered[bounds.lower],
        above=None if bounds.upper is None else offered[bounds.upper],
        limit=bounds.limit,
        reason=capacity.ended(bounds.limit, goal, met),
        trials=valid,
        invalid=capacity.not_counted(tuple(mine.values())),
    )


def _gave_up(goal: float, cell: Cell, trial: Trial, mine: dict[str, Trial]) -> Knee:
    invalid = capacity.not_counted(tuple(mine.values()))
    reason = f"given up after trial {trial.id}: {trial.reason}"
    return Knee(
        goal, cell.name, None, None, "trials", reason, trials=len(mine) - invalid, invalid=invalid
    )


async def _confirm(
    rig: Rig, cell: Cell, found: Knee, name: str, keep: Keep, mine: dict[str, Trial]
) -> Knee:
    """Try the rate with the load's own warm-up and window, a little below and a little above."""
    assert found.rate is not None
    trials = []
    for share in _AROUND if found.above is not None else _AROUND[:1]:
        order = Order(f"{name}-x{share:g}", "A", "confirm", share * found.rate)
        trials.append(await _answer(rig, cell, cell.plan, order, keep, mine))
    found = msgspec.structs.replace(found, invalid=capacity.not_counted(tuple(mine.values())))
    return capacity.confirmed(found, trials)


async def _kept(rig: Rig, cell: Cell, plan: Plan, order: Order, keep: Keep) -> Trial:
    result = await conduct(rig, plan, order)
    trial = msgspec.structs.replace(result.trial, cell=cell.name)
    keep(replace(result, trial=trial))
    _stop_if_lost(trial, plan)
    return trial


def _order(pair: int) -> str:
    return "AB" if pair % 2 else "BA"


def _judged(plan: Plan, pair: int, place: int, arm: str) -> Order:
    return Order(f"p{pair:02}-{place}-{arm}", arm, "judged", plan.load.rates[0], pair)


def _whole_pairs(trials: Sequence[Trial]) -> int:
    arms: dict[int, set[str]] = {}
    for trial in trials:
        if trial.pair is not None and trial.validity == "valid":
            arms.setdefault(trial.pair, set()).add(trial.arm)
    return sum(found == {"A", "B"} for found in arms.values())


def _pair_counts(results: Sequence[Result], plan: Plan, keep: Keep) -> bool:
    """Return whether a pair counts; one whose trials saw another machine is marked noisy."""
    if len(results) < 2 or any(r.trial.validity != "valid" for r in results):
        return False
    limit = plan.validity.pair_steal
    first, second = (result.trial.host.get("steal") for result in results)
    if limit is None or first is None or second is None or abs(first - second) <= limit:
        return True
    reason = f"its pair saw {first:.1f} % and {second:.1f} % steal of this machine"
    for result in results:
        noisy = msgspec.structs.replace(result.trial, validity="noisy", reason=reason)
        keep(Result(noisy, result.raw, result.profile))
    return False


def _stop_if_lost(trial: Trial, plan: Plan) -> None:
    if trial.validity == "setup_error" and plan.validity.on_lost_node == "stop":
        raise TrialError(f"trial {trial.id}: {trial.reason}; what was measured is kept")
