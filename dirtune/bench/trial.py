"""Run one trial on a rig: settle, load, measure between two edges, drain.

A judged trial reads the nodes only twice while the load runs, at the edges of the window. A
profiled trial samples every node each second and runs the director's probes; it explains a result,
and is never compared. All times come from the rig's clock, so that the same code measures a
simulated director. The module `judge` decides whether the trial is valid.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from dirtune.analyse import cpu
from dirtune.analyse.cpu import Sample
from dirtune.analyse.profile import Profile
from dirtune.analyse.run import Trial, TrialKind
from dirtune.bench import judge, outcome, steady, window
from dirtune.bench.outcome import Facts, Order
from dirtune.bench.ports_and_duration import TABLE_LIFE_S
from dirtune.bench.protocols import Rig
from dirtune.bench.window import Window
from dirtune.errors import (
    NodeUnreachable,
    NotPossible,
    ParseError,
    PlanError,
    SourceMissing,
    TrialError,
)
from dirtune.plan.generators import schedules
from dirtune.plan.tables import Plan

QUIET = frozenset({TrialKind.JUDGED, TrialKind.BASELINE, TrialKind.SEARCH, TrialKind.CONFIRM})
"""Kinds of trial during which only the load runs."""

# The last replies come within the time-out; their FINs a little later.
_DRAIN_S = 2
_DRAINED = 0.01
# The kernel's TCP_TIMEWAIT_LEN, which no setting changes.
_TIME_WAIT_S = 60
# The estimator copies the counters of destinations every two seconds.
_COPIED_S = 2.5
_SHARES_OFF = 0.005


@dataclass(frozen=True, slots=True)
class Result:
    """A trial and its output."""

    trial: Trial
    raw: dict[str, str]
    """Raw output by file name."""
    profile: Profile | None = None
    """Profile of the window of a profiled trial, measured by the director's own dirtune."""
    away: bool = False
    """Whether a node was unreachable before the trial began, as it will be for the next trial."""


@dataclass(frozen=True, slots=True)
class _Settled:
    seconds: float
    settled: bool
    sample: Sample
    served: dict[str, int]


async def conduct(rig: Rig, plan: Plan, order: Order) -> Result:
    """Run one trial. If a node is lost, the trial is a `setup_error`; no exception is raised."""
    if order.pair is not None and not plan.load.open_loop:
        name = plan.load.generator
        raise PlanError(f"load.generator: {name} is a closed loop, which cannot compare two arms.")
    started = rig.utc()
    try:
        await rig.ready()
    except NodeUnreachable as error:
        return Result(judge.failed(order, started, plan, str(error)), {}, away=True)
    try:
        await rig.preflight()
        settled = await _settle(rig, plan)
        if order.kind == TrialKind.PROFILED:
            return await _probed(rig, plan, order, started, settled)
        watch = window.edges if order.kind in QUIET else window.each_second
        facts, raw = await _measure(rig, plan, order, started, settled, watch)
        return Result(judge.judge(facts, plan), raw)
    except (NodeUnreachable, NotPossible, ParseError, SourceMissing, TrialError) as error:
        return Result(judge.failed(order, started, plan, str(error)), {})


async def _probed(rig: Rig, plan: Plan, order: Order, started: str, settled: _Settled) -> Result:
    probe = await rig.probe(plan.load.window_s, order.probes)
    try:
        watch = partial(window.each_second, probe=probe)
        facts, raw = await _measure(rig, plan, order, started, settled, watch)
        profile = await probe.finish()
    finally:
        await probe.end()
    return Result(judge.judge(facts, plan), raw, profile)


async def _settle(rig: Rig, plan: Plan) -> _Settled:
    """Wait, up to a limit, until the director has been idle for some seconds in a row.

    With `load.settle = "drain"`, also wait until its connection table and the sockets in TIME_WAIT
    on the other nodes have drained.
    """
    began, in_a_row, waiting = rig.now(), 0, 0
    before = await rig.sample()
    while in_a_row < plan.settle.seconds:
        if rig.now() - began >= plan.settle.max_s:
            break
        await rig.sleep_until(rig.now() + 1)
        now = await rig.sample()
        if plan.load.settle == "drain":
            peers = await rig.sample_peers()
            waiting = sum(peer.net.get("time_wait", 0) for peer in peers.values())
        in_a_row = in_a_row + 1 if _rests(before, now, waiting, plan) else 0
        before = now
    done = in_a_row >= plan.settle.seconds
    # The preflight's connections must not count as shares of the load.
    await rig.sleep_until(began + _COPIED_S)
    return _Settled(rig.now() - began, settled=done, sample=before, served=await rig.shares())


def _rests(earlier: Sample, later: Sample, waiting: int, plan: Plan) -> bool:
    idle = cpu.idle_percent(earlier, later)
    if idle is None or idle < plan.settle.idle:
        return False
    if plan.load.settle != "drain":
        return True
    of_table, of_sockets = (
        max((*plan.load.rates, *plan.compare.rates)) * min(plan.load.load_s, life_s)
        for life_s in (TABLE_LIFE_S, _TIME_WAIT_S)
    )
    return (later.inactive or 0) <= _DRAINED * of_table and waiting <= _DRAINED * of_sockets


async def _measure(
    rig: Rig,
    plan: Plan,
    order: Order,
    started: str,
    settled: _Settled,
    watch: Callable[[Rig, float, float], Awaitable[Window]],
) -> tuple[Facts, dict[str, str]]:
    ticks = schedules(order.rate, len(plan.clients), plan.load.load_s)
    quiet = order.kind in QUIET
    programs = await rig.programs() if quiet else ()
    loading = await rig.load(ticks)
    try:
        lead_s = await _warmed(rig, plan, loading.began_s)
        seen = await watch(rig, loading.began_s + lead_s, plan.load.window_s)
        clients, raw = await loading.finish()
    finally:
        await loading.end()
    await rig.sleep_until(rig.now() + _DRAIN_S)
    around = (settled.sample, await rig.sample())
    facts = Facts(
        order,
        started,
        ticks,
        settled.seconds,
        settled.settled,
        clients,
        edges=seen.edges,
        around=around,
        host=seen.host,
        stolen_s=seen.stolen_s,
        nodes=seen.nodes,
        lead_s=lead_s,
        programs=(programs, await rig.programs() if quiet else ()),
        signals=outcome.signals(*seen.peers),
        shares=await _shares(rig, settled.served, outcome.delta(around, "connections")),
    )
    return facts, raw


async def _warmed(rig: Rig, plan: Plan, began_s: float) -> float:
    """Return the seconds of load that precede the window.

    If the warm-up may be extended, the director is sampled once a second until its connection rate
    has been steady for some seconds or the time limit is reached.
    """
    load, samples = plan.load, []
    lead_s = max(load.ramp_s, load.lead_s - steady.WARM_S)
    while load.lead_max_s > load.lead_s:
        await rig.sleep_until(began_s + lead_s)
        samples.append(await rig.sample())
        lead_s += 1  # a node may take that long to answer
        if lead_s >= load.lead_max_s or (lead_s >= load.lead_s and steady.warm(samples)):
            return min(lead_s, load.lead_max_s)
    return load.lead_s


async def _shares(rig: Rig, before: dict[str, int], connections: int | None) -> dict[str, int]:
    """Return each destination's connections; empty if they do not add up to *connections*."""
    for _ in range(2 if before else 0):
        after = await rig.shares()
        found = {name: count - before.get(name, 0) for name, count in after.items()}
        total = sum(found.values())
        if abs(total - (connections or 0)) <= _SHARES_OFF * total:
            return found
        await rig.sleep_until(rig.now() + _COPIED_S)
    return {}
