"""Measure windows of real traffic on a director, without sending any load.

Windows with and without the fix alternate, so that drift over the hours affects both equally. CPU
time per connection depends on the rate, so a pair of windows is not valid if the rates of the two
windows differ much. A window with too few connections is not valid either.
"""

from collections.abc import Mapping

import msgspec

from dirtune.analyse import cpu, work
from dirtune.analyse.cpu import Sample
from dirtune.analyse.run import Trial, Validity
from dirtune.bench import judge, outcome
from dirtune.bench.outcome import Order
from dirtune.bench.protocols import Rig
from dirtune.bench.trial import Result
from dirtune.errors import (
    NodeUnreachable,
    NotPossible,
    ParseError,
    PlanError,
    SourceMissing,
    TrialError,
)
from dirtune.plan import tables
from dirtune.plan.load import Load
from dirtune.plan.tables import Plan, Traffic

NOTES = (
    "The traffic is real: dirtune sent none of it. Windows with and without the fix alternated.",
    "The run shows the director's CPU time per connection at the rates of the real clients.",
    "The run does not show capacity, loss or latency, nor the fix's effect at other rates.",
    "Connections that were open before a switch cause work in both arms.",
    (
        "A different mix of requests in one arm would look like an effect; because the arms "
        "alternate, such a difference is rare."
    ),
)
SHOWN = (
    *("cpu_us_per_connection", "cpu_us_per_packet"),
    *("interrupts_per_connection", "packets_per_connection"),
)
"""The metrics by which windows with and without the fix can be compared."""
LEAST_CONNECTIONS = 200
"""Smallest number of connections in a valid window; with fewer, one long connection would weigh
too much."""
_PAIR_RATE = 20.0
_SETTLE_S = 5.0
_CANNOT = (NodeUnreachable, NotPossible, ParseError, SourceMissing)


def plan(traffic: Traffic, window_s: float, pairs: int, at_most: int | None = None) -> Plan:
    """Return a plan for *pairs* pairs of windows of real traffic, each *window_s* seconds long.

    *at_most* is the number of pairs at the second of two tests; None if there is only one test.
    Raises `PlanError` if *traffic* sets rates, or a metric that windows of real traffic lack.
    """
    if traffic.compare.primary not in SHOWN:
        shown = ", ".join(SHOWN)
        raise PlanError(
            f"compare.primary: {traffic.compare.primary} cannot be used with --live, which "
            f"measures only {shown}"
        )
    if traffic.compare.rates:
        raise PlanError(
            "compare.rates cannot be used with --live, which does not choose the rates. Remove it."
        )
    return Plan(
        services=traffic.services,
        director=traffic.director,
        title=traffic.title,
        ssh_config=traffic.ssh_config,
        compare=traffic.compare,
        load=Load(rates=(0.0,), window=window_s, pairs=pairs, at_most=at_most),
        clients=(),
        validity=tables.Validity(retries=at_most or pairs, pair_rate=_PAIR_RATE),
        notes=NOTES,
    )


async def require_traffic(rig: Rig, plan: Plan) -> None:
    """Return once the director has counted enough connections for a window.

    Raises `TrialError` if a whole window passes before that.
    """
    await rig.ready()
    host, began, end_s = plan.director.host, await rig.sample(), rig.now() + plan.load.window_s
    while True:
        await rig.sleep_until(min(end_s, rig.now() + 1))
        edges = began, await rig.sample()
        connections, length_s = outcome.delta(edges, "connections"), edges[1].at_s - began.at_s
        reason = _too_few(connections, length_s)
        if reason is None:
            return
        if connections is None:
            raise TrialError(f"{host}: {reason}. Nothing was changed.")
        if rig.now() >= end_s:
            raise TrialError(
                f"{host}: IPVS counted only {connections} connections in {length_s:.0f} s, but a "
                f"window of --live needs {LEAST_CONNECTIONS}. Nothing was changed. Use a longer "
                "window, or leave out --live to send the load of the plan."
            )


async def window(rig: Rig, plan: Plan, order: Order) -> Result:
    """Measure the director for one window, some seconds after a change of the arm."""
    started = rig.utc()
    try:
        await rig.ready()
        await rig.sleep_until(rig.now() + _SETTLE_S)
        began = await rig.sample()
        await rig.sleep_until(rig.now() + plan.load.window_s)
        return Result(measured(order, started, plan, (began, await rig.sample())), {})
    except _CANNOT as error:
        return Result(judge.failed(order, started, plan, str(error)), {})


def measured(order: Order, started: str, plan: Plan, edges: tuple[Sample, Sample]) -> Trial:
    """Return the trial of a window.

    *edges* are the samples of the director at the start and at the end of the window.
    """
    connections = outcome.delta(edges, "connections")
    seconds = edges[1].at_s - edges[0].at_s
    empty = judge.failed(order, started, plan, "")
    reason = _too_few(connections, seconds)
    return msgspec.structs.replace(
        empty,
        window_s=seconds,
        attempted=connections or 0,
        validity=Validity.VALID if reason is None else Validity.NOISY,
        reason=reason,
        metrics=_metrics(edges, connections, seconds),
        counters=judge.counters(edges),
        settle_s=_SETTLE_S,
        settled=True,
        generator="live traffic",
    )


def _too_few(connections: int | None, seconds: float) -> str | None:
    if connections is None:
        return "the director does not count connections; check that ip_vs is loaded there"
    if connections < LEAST_CONNECTIONS:
        return (
            f"the window had only {connections} connections in {seconds:.0f} s, but needs "
            f"{LEAST_CONNECTIONS}; choose a longer window"
        )
    return None


def _metrics(
    edges: tuple[Sample, Sample], connections: int | None, seconds: float
) -> Mapping[str, float]:
    busy = cpu.busy_s(*edges)
    packets = work.packets(*edges)
    interrupts = max(judge.by_line(edges).values(), default=None)
    metrics = {
        "connections_per_s": judge.per(connections, seconds),
        "cpu_us_per_connection": judge.per(None if busy is None else busy * 1e6, connections),
        "cpu_us_per_packet": judge.per(None if busy is None else busy * 1e6, packets),
        "interrupts_per_connection": judge.per(interrupts, connections),
        "packets_per_connection": judge.per(packets, connections),
        "director_idle_percent": cpu.idle_percent(*edges),
    }
    return {name: value for name, value in metrics.items() if value is not None}
