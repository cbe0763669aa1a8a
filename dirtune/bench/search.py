"""Run the search for a knee, the highest rate that meets a loss goal.

Trials that are on disk from an interrupted run are used again; only missing trials are run.
"""

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from dirtune.analyse import capacity
from dirtune.analyse.run import Knee, KneeLimit, Trial, TrialKind, Validity
from dirtune.bench import knee
from dirtune.bench.campaign import Keep, kept, repeated
from dirtune.bench.knee import Ask, Bounds, Seen
from dirtune.bench.matrix import Cell, prefix
from dirtune.bench.outcome import Order
from dirtune.bench.protocols import Rig
from dirtune.plan.tables import Knee as KneePlan
from dirtune.plan.tables import Plan

_AROUND = (0.95, 1.05)
_CEILING = 0.8


class Search:
    """A search for the highest rate that meets the loss goal *goal*, a share of connections."""

    def __init__(
        self, rig: Rig, cell: Cell, goal: float, keep: Keep, done: Sequence[Trial] = ()
    ) -> None:
        self._rig, self._cell, self._goal, self._keep = rig, cell, goal, keep
        self._asked = cell.plan.knee or KneePlan()
        self._highest = ceiling(cell.plan, done)
        self._name = f"{prefix(cell)}k{goal:g}"
        self._mine = {t.id: t for t in done if t.id.startswith(f"{self._name}-")}

    async def run(self) -> Knee:
        """Search for the knee, confirm the result with more trials, and return it."""
        where = knee.space(self._asked, self._highest, self._asked.trial_s)
        log: list[tuple[Ask, Trial]] = []
        while isinstance(
            ask := knee.following(where, self._goal, [_seen(trial) for _, trial in log]), Ask
        ):
            trial = await self._answer(ask, log)
            if trial.validity not in {Validity.VALID, Validity.CLIENT_LIMITED}:
                return self._gave_up(trial)
            log.append((ask, trial))
        result = self._knee(ask, log)
        return result if result.rate is None else await self._confirm(result, result.rate)

    async def _answer(self, ask: Ask, log: Sequence[tuple[Ask, Trial]]) -> Trial:
        order = Order(f"{self._name}-{len(log) + 1:02}", "A", TrialKind.SEARCH, ask.rate)
        # A client-limited trial counts while the search looks for a rate the clients can reach.
        going_down = all(trial.validity == Validity.CLIENT_LIMITED for _, trial in log)
        return await self._trial(self._lasting(ask.window_s), order, limit_counts=going_down)

    async def _trial(self, plan: Plan, order: Order, *, limit_counts: bool = False) -> Trial:
        """Return a valid trial for *order*, from disk or newly run.

        An invalid trial is repeated until the plan's `retries` are used up; then the last trial is
        returned although it is invalid. If *limit_counts* is True, a trial that the clients
        limited is returned as well.
        """
        number = 1
        while True:
            name = order.id if number == 1 else f"{order.id}+{number}"
            if name not in self._mine:
                own = replace(order, id=name)
                self._mine[name] = await kept(self._rig, self._cell, plan, own, self._keep)
            trial = self._mine[name]
            if trial.valid or sum(map(repeated, self._mine)) >= self._retries:
                return trial
            if limit_counts and trial.validity == Validity.CLIENT_LIMITED:
                return trial
            number += 1

    @property
    def _retries(self) -> int:
        return self._cell.plan.validity.retries

    def _lasting(self, window_s: float) -> Plan:
        load = msgspec.structs.replace(
            self._cell.plan.load,
            ramp=0,
            warmup=self._asked.warmup,
            window=window_s,
            duration=None,
        )
        return msgspec.structs.replace(self._cell.plan, load=load)

    def _knee(self, bounds: Bounds, log: Sequence[tuple[Ask, Trial]]) -> Knee:
        # The offered rate may differ a little from the rate that the search asked for.
        offered = {ask.rate: trial.offered_rate for ask, trial in log}
        met = [t for _, t in log if t.attempted - t.replied <= self._goal * t.attempted]
        return Knee(
            loss_goal=self._goal,
            cell=self._cell.name,
            rate=None if bounds.lower is None else offered[bounds.lower],
            above=None if bounds.upper is None else offered[bounds.upper],
            limit=bounds.limit,
            reason=capacity.ended(bounds.limit, self._goal, sum(t.attempted for t in met)),
            trials=sum(trial.valid for _, trial in log),
            invalid=self._invalid(),
        )

    def _gave_up(self, trial: Trial) -> Knee:
        return Knee(
            self._goal,
            self._cell.name,
            None,
            None,
            KneeLimit.TRIALS,
            f"the search ended early, at trial {trial.id}: {trial.reason}",
            trials=len(self._mine) - self._invalid(),
            invalid=self._invalid(),
        )

    async def _confirm(self, knee: Knee, rate: float) -> Knee:
        """Return the result after confirming trials just below and just above the knee's rate.

        These trials use the plan's window, which is longer than the window of the search.
        """
        trials = []
        for share in _AROUND if knee.above is not None else _AROUND[:1]:
            order = Order(f"{self._name}-x{share:g}", "A", TrialKind.CONFIRM, share * rate)
            trials.append(await self._trial(self._cell.plan, order))
        return capacity.confirmed(msgspec.structs.replace(knee, invalid=self._invalid()), trials)

    def _invalid(self) -> int:
        return capacity.not_counted(tuple(self._mine.values()))


def ceiling(plan: Plan, done: Sequence[Trial]) -> float:
    """Return the highest rate that the search may offer, in connections/s.

    The trials with a server on each client (`null_server`) show which rates the clients reach. If
    one of these trials failed, the result is 80 % of the highest rate that succeeded. Otherwise
    the result is the highest rate of the plan.
    """
    highest = (plan.knee or KneePlan()).highest or max(plan.load.rates)
    own = [trial for trial in done if trial.cell == "null_server" and trial.attempted]
    made = [t.offered_rate for t in own if t.valid and t.replied == t.attempted]
    failed = [t.offered_rate for t in own if t.offered_rate not in made]
    return min(highest, _CEILING * max(made)) if made and failed else highest


def _seen(trial: Trial) -> Seen:
    return Seen(trial.attempted, trial.replied, trial.validity == Validity.CLIENT_LIMITED)
