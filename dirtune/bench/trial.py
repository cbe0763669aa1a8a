"""Run one trial: wait for an idle director, run the load, measure a window, wait for the end.

A judged trial reads the nodes only twice while the load runs: at the start and at the end of the
window. A profiled trial samples every node each second and runs probes on the director; it
explains a result, and is never compared. All times come from the rig's clock, so that tests can
run the same code with a simulated director. The module `judge` decides if the trial is valid.
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
from dirtune.collect.processes import Process
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
"""The kinds of trial during which nothing but the load runs."""

# The last replies arrive before the time-out, and their FINs a little later.
_DRAIN_S = 2
_READ_S = 1
"""Seconds that a slow director needs to list its programs."""
_DRAINED = 0.01
# The kernel's TCP_TIMEWAIT_LEN, which is a constant.
_TIME_WAIT_S = 60
# The IPVS estimator updates the visible counters of destinations every two seconds.
_COPIED_S = 2.5
_SHARES_OFF = 0.005


@dataclass(frozen=True, slots=True)
class Result:
    """A finished trial and its raw output."""

    trial: Trial
    raw: dict[str, str]
    """The raw output of the load generators, by file name."""
    profile: Profile | None = None
    """The profile that dirtune on the director measured in the window; only for a profiled
    trial."""
    away: bool = False
    """Whether the trial could not begin because a node was unreachable."""


@dataclass(frozen=True, slots=True)
class _Settled:
    seconds: float
    settled: bool
    sample: Sample
    served: dict[str, int]


async def conduct(rig: Rig, plan: Plan, order: Order) -> Result:
    """Run one trial, and return it.

    If a node is lost, the result is a trial with the validity `setup_error`, not an exception.
    Raises `PlanError` if the load generator is a closed loop and the trial belongs to a pair.
    """
    if order.pair is not None and not plan.load.open_loop:
        name = plan.load.generator
        raise PlanError(
            f"load.generator: {name} is a closed-loop generator, which cannot compare two arms."
        )
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
    """Wait until the director has been idle for some seconds in a row, or a time limit is over.

    With `load.settle = "drain"`, also wait until the connections of the previous trial have left
    the director's connection table, and sockets in TIME_WAIT have left the other nodes.
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
    # The requests before the trial must not count as connections of the load.
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
    # Before the load begins, because a slow director needs longer than the warm-up to list them.
    programs = await _programs(rig, quiet=quiet)
    loading = await rig.load(ticks)
    try:
        lead_s = await _warmed(rig, plan, loading.began_s)
        seen = await watch(rig, loading.began_s + lead_s, plan.load.window_s)
        clients, raw = await loading.finish()
    finally:
        await loading.end()
    end_s = rig.now() + _DRAIN_S
    await rig.sleep_until(end_s - _READ_S)
    programs_after = await _programs(rig, quiet=quiet)
    await rig.sleep_until(end_s)
    around = (settled.sample, await rig.sample())
    facts = Facts(
        order,
        started,
        ticks,
        settled.seconds,
        settled.settled,
        clients,
        edges=seen.edges,
        apart_s=seen.apart_s,
        around=around,
        host=seen.host,
        stolen_s=seen.stolen_s,
        nodes=seen.nodes,
        lead_s=lead_s,
        programs=(programs, programs_after),
        signals=outcome.signals(*seen.peers),
        shares=await _shares(rig, settled.served, outcome.delta(around, "connections")),
    )
    return facts, raw


async def _programs(rig: Rig, *, quiet: bool) -> tuple[Process, ...]:
    return await rig.programs() if quiet else ()


async def _warmed(rig: Rig, plan: Plan, began_s: float) -> float:
    """Wait until the warm-up is over, and return its length in seconds, including the ramp.

    If the plan allows a longer warm-up, the director is sampled once a second until its connection
    rate has been steady for some seconds or the time limit is reached.
    """
    load, samples = plan.load, []
    lead_s = max(load.ramp_s, load.lead_s - steady.WARM_S)
    while load.lead_max_s > load.lead_s:
        await rig.sleep_until(began_s + lead_s)
        samples.append(await rig.sample())
        lead_s += 1  # a node may need that long to answer
        if lead_s >= load.lead_max_s or (lead_s >= load.lead_s and steady.warm(samples)):
            return min(lead_s, load.lead_max_s)
    return load.lead_s


async def _shares(rig: Rig, before: dict[str, int], connections: int | None) -> dict[str, int]:
    """Return the number of connections to each real server during the load.

    The result is empty if the numbers do not add up to *connections*.
    """
    for _ in range(2 if before else 0):
        after = await rig.shares()
        shares = {name: count - before.get(name, 0) for name, count in after.items()}
        total = sum(shares.values())
        if abs(total - (connections or 0)) <= _SHARES_OFF * total:
            return shares
        await rig.sleep_until(rig.now() + _COPIED_S)
    return {}
