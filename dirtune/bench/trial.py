"""One trial: settle, load, measure between two edges, drain. Drives a rig; decides nothing.

Judged trials touch the nodes twice while the load runs, at the window's edges. Profiled ones
sample every node each second and run the director's probes, and are for explaining, never for
comparing. The clock is the rig's, so that a simulated director is measured by the same code.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Protocol

from dirtune.analyse import cpu
from dirtune.analyse.cpu import Sample
from dirtune.analyse.profile import Profile
from dirtune.analyse.run import NodeCpu, Role, Trial, TrialKind
from dirtune.bench import judge, outcome, steady
from dirtune.bench.budget import TABLE_LIFE_S
from dirtune.bench.outcome import ClientResult, Facts, Order
from dirtune.collect.processes import Process
from dirtune.errors import (
    NodeUnreachable,
    NotPossible,
    ParseError,
    PlanError,
    SourceMissing,
    TrialError,
)
from dirtune.plan.generators import Schedule, schedules
from dirtune.plan.tables import Plan

QUIET = frozenset({TrialKind.JUDGED, TrialKind.BASELINE, TrialKind.SEARCH, TrialKind.CONFIRM})
"""Kinds of trial in which nothing but the load runs."""

# The last replies come within the time-out; their FINs a little later.
_DRAIN_S = 2
_DRAINED = 0.01
# The kernel's TCP_TIMEWAIT_LEN, which no setting changes.
_TIME_WAIT_S = 60
# The estimator copies the counters of destinations every two seconds.
_COPIED_S = 2.5
_SHARES_OFF = 0.005


class Loading(Protocol):
    """A load that is running."""

    @property
    def began_s(self) -> float:
        """When the last client began, on the rig's clock."""
        ...

    async def finish(self) -> tuple[tuple[ClientResult, ...], dict[str, str]]:
        """Return each client's result and the raw texts, by file name."""
        ...

    async def end(self) -> None:
        """End what still runs."""
        ...


class Probing(Protocol):
    """Probes that are loaded on the director."""

    async def begin(self) -> None:
        """Open their window."""
        ...

    async def finish(self) -> Profile:
        """Return what it measured."""
        ...

    async def end(self) -> None:
        """End it if it still runs."""
        ...


class Rig(Protocol):
    """The nodes of a plan, ready for trials."""

    def now(self) -> float:
        """Return the controller's clock, in seconds."""
        ...

    def utc(self) -> str:
        """Return the time of day in UTC, ISO 8601."""
        ...

    async def sleep_until(self, moment_s: float) -> None:
        """Wait until `now` is *moment_s*."""
        ...

    async def ready(self) -> None:
        """Reach every node again that was lost; `NodeUnreachable` names one that stays so."""
        ...

    async def preflight(self) -> None:
        """Send one request from each client; `TrialError` names the one without a reply."""
        ...

    async def sample(self) -> Sample:
        """Return the director's counters."""
        ...

    async def sample_all(self) -> dict[str, Sample]:
        """Return every node's counters, by the names of `roles`."""
        ...

    async def sample_peers(self) -> dict[str, Sample]:
        """Return the counters of every node but the director, by the names of `roles`."""
        ...

    async def shares(self) -> dict[str, int]:
        """Return the connections of each destination of the service since it was made.

        Up to two seconds old; empty where the director does not tell.
        """
        ...

    async def programs(self) -> tuple[Process, ...]:
        """Return the director's processes; empty where they are not the director's alone."""
        ...

    def roles(self) -> dict[str, Role]:
        """Return the role of each node by name, the director first."""
        ...

    def host_times(self) -> Mapping[str, float]:
        """Return this machine's CPU times in seconds, by state."""
        ...

    def guest_stolen_s(self) -> float | None:
        """Return the seconds stolen so far from the CPUs that carry a guest director.

        None where the director is no guest of this machine.
        """
        ...

    async def load(self, ticks: Sequence[Schedule]) -> Loading:
        """Start the load on all clients at the same moment; a schedule for each."""
        ...

    async def probe(self, seconds: float, probes: Sequence[str]) -> Probing:
        """Load *probes* on the director, to measure for *seconds*; return when they are loaded."""
        ...


@dataclass(frozen=True, slots=True)
class Result:
    """A trial and what it leaves."""

    trial: Trial
    raw: dict[str, str]
    """Raw output by file name."""
    profile: Profile | None = None
    """What the director's own dirtune said of a profiled trial's window."""
    away: bool = False
    """A node was not there when it was to begin: the next trial will find it away too."""


@dataclass(frozen=True, slots=True)
class _Window:
    edges: tuple[Sample, Sample]
    host: dict[str, float]
    stolen_s: float | None
    peers: tuple[dict[str, Sample], dict[str, Sample]]
    nodes: tuple[NodeCpu, ...] = ()


@dataclass(frozen=True, slots=True)
class _Settled:
    seconds: float
    settled: bool
    sample: Sample
    served: dict[str, int]


async def conduct(rig: Rig, plan: Plan, order: Order) -> Result:
    """Carry one trial out; a node that is lost makes it a `setup_error`, never an exception."""
    if order.pair is not None and not plan.load.open_loop:
        name = plan.load.generator
        raise PlanError(f"load.generator: {name} is a closed loop and compares nothing")
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
        watch = _edges if order.kind in QUIET else _profile
        facts, raw = await _measure(rig, plan, order, started, settled, watch)
        return Result(judge.judge(facts, plan), raw)
    except (NodeUnreachable, NotPossible, ParseError, SourceMissing, TrialError) as error:
        return Result(judge.failed(order, started, plan, str(error)), {})


async def _probed(rig: Rig, plan: Plan, order: Order, started: str, settled: _Settled) -> Result:
    probe = await rig.probe(plan.load.window_s, order.probes)
    try:
        watch = partial(_profile, probe=probe)
        facts, raw = await _measure(rig, plan, order, started, settled, watch)
        profile = await probe.finish()
    finally:
        await probe.end()
    return Result(judge.judge(facts, plan), raw, profile)


async def _settle(rig: Rig, plan: Plan) -> _Settled:
    """Wait until the director has been idle for some seconds in a row; bounded.

    `drain` waits for its connection table as well, and for sockets in TIME_WAIT on the others.
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
            waiting = sum(each.net.get("time_wait", 0) for each in peers.values())
        in_a_row = in_a_row + 1 if _rests(before, now, waiting, plan) else 0
        before = now
    done = in_a_row >= plan.settle.seconds
    # The preflight's connections are no shares of the load.
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
    watch: Callable[[Rig, float, float], Awaitable[_Window]],
) -> tuple[Facts, dict[str, str]]:
    ticks = schedules(order.rate, len(plan.clients), plan.load.load_s)
    quiet = order.kind in QUIET
    programs = await rig.programs() if quiet else ()
    loading = await rig.load(ticks)
    try:
        lead_s = await _warmed(rig, plan, loading.began_s)
        window = await watch(rig, loading.began_s + lead_s, plan.load.window_s)
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
        edges=window.edges,
        around=around,
        host=window.host,
        stolen_s=window.stolen_s,
        nodes=window.nodes,
        lead_s=lead_s,
        programs=(programs, await rig.programs() if quiet else ()),
        signals=outcome.signals(*window.peers),
        shares=await _shares(rig, settled.served, outcome.delta(around, "connections")),
    )
    return facts, raw


async def _warmed(rig: Rig, plan: Plan, began_s: float) -> float:
    """Return how long the load is to have run when its window opens.

    A warm-up that may be extended is watched once a second, until the director's connections
    have been steady for some seconds or there is no more time.
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
    """Return what each destination got; empty while it does not sum to *connections*."""
    for _ in range(2 if before else 0):
        after = await rig.shares()
        found = {name: count - before.get(name, 0) for name, count in after.items()}
        total = sum(found.values())
        if abs(total - (connections or 0)) <= _SHARES_OFF * total:
            return found
        await rig.sleep_until(rig.now() + _COPIED_S)
    return {}


async def _edges(rig: Rig, opens_s: float, window_s: float) -> _Window:
    await rig.sleep_until(opens_s)
    # The director first: what the others take to answer is not in its window.
    first, stolen, host = await rig.sample(), rig.guest_stolen_s(), [rig.host_times()]
    peers = await rig.sample_peers()
    for second in range(1, int(window_s)):
        await rig.sleep_until(opens_s + second)
        host.append(rig.host_times())
    await rig.sleep_until(opens_s + window_s)
    last = await rig.sample()
    host.append(rig.host_times())
    taken = _since(stolen, rig)
    return _Window((first, last), _host_shares(host), taken, (peers, await rig.sample_peers()))


async def _profile(
    rig: Rig, opens_s: float, window_s: float, *, probe: Probing | None = None
) -> _Window:
    await rig.sleep_until(opens_s)
    if probe is not None:
        await probe.begin()
    host, stolen, series = [rig.host_times()], rig.guest_stolen_s(), [await rig.sample_all()]
    for second in range(1, round(window_s) + 1):
        await rig.sleep_until(opens_s + second)
        series.append(await rig.sample_all())
        host.append(rig.host_times())
    roles = rig.roles()
    found = (
        cpu.node_cpu(name, role, [samples[name] for samples in series])
        for name, role in roles.items()
    )
    director, *others = roles
    first, last = ({name: edge[name] for name in others} for edge in (series[0], series[-1]))
    return _Window(
        (series[0][director], series[-1][director]),
        _host_shares(host),
        _since(stolen, rig),
        (first, last),
        tuple(node for node in found if node is not None),
    )


def _since(stolen_s: float | None, rig: Rig) -> float | None:
    now_s = rig.guest_stolen_s()
    return None if stolen_s is None or now_s is None else now_s - stolen_s


def _host_shares(series: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the shares over the whole series, and the steal of its worst interval."""
    shares = _spent(series[0], series[-1])
    steals = [_spent(*pair).get("steal") for pair in pairwise(series)]
    known = [steal for steal in steals if steal is not None]
    return {**shares, "steal_peak": max(known)} if known else shares


def _spent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    spent = {state: after[state] - before[state] for state in after if state in before}
    # psutil's guest time is part of user time already.
    total = sum(time for state, time in spent.items() if not state.startswith("guest"))
    if total <= 0:
        return {}
    waiting = spent.get("idle", 0.0) + spent.get("iowait", 0.0)
    shares = {"busy": 100 * (1 - waiting / total)}
    return {**shares, "steal": 100 * spent["steal"] / total} if "steal" in spent else shares
