"""Windows of the traffic that is there, on a director that nobody may load. Drives; sends nothing.

Windows with and without the fix alternate, so that what drifts with the hour falls on both. What
a connection costs depends on how many there are, so a pair of windows with unlike rates does not
count, nor does a window with too few connections to divide by.
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
from dirtune.errors import NodeUnreachable, NotPossible, ParseError, PlanError, SourceMissing
from dirtune.plan import tables
from dirtune.plan.load import Load
from dirtune.plan.tables import Plan, Traffic

NOTES = (
    "Live traffic: nothing was sent. Windows with and without the fix took turns.",
    "Shown is what a connection cost the director, at the rates that clients happened to make.",
    "Not shown are capacity, loss and latency, and what the fix does at other rates.",
    "Connections that were open before a switch are worked on in both arms.",
    "Another mix of requests in one arm would pass for the fix's doing; turns make it unlikely.",
)
SHOWN = (
    *("cpu_us_per_connection", "cpu_us_per_packet"),
    *("interrupts_per_connection", "packets_per_connection"),
)
"""What arms may be judged by."""
LEAST_CONNECTIONS = 200
"""Of a window: fewer, and a single long one weighs too much."""
_PAIR_RATE = 20.0
_SETTLE_S = 5.0
_CANNOT = (NodeUnreachable, NotPossible, ParseError, SourceMissing)


def plan(asked: Traffic, window_s: float, pairs: int) -> Plan:
    """Return the plan of such windows on the director of *asked*, which nobody loads.

    `PlanError` where they would be judged by what a window cannot show or choose.
    """
    if asked.compare.primary not in SHOWN:
        shown = ", ".join(SHOWN)
        raise PlanError(f"compare.primary: {asked.compare.primary}: --live measures {shown}")
    if asked.compare.rates:
        raise PlanError("compare.rates: live traffic has the rate it has; leave them out")
    return Plan(
        services=asked.services,
        director=asked.director,
        title=asked.title,
        ssh_config=asked.ssh_config,
        compare=asked.compare,
        load=Load(rates=(0.0,), window=window_s, pairs=pairs),
        clients=(),
        validity=tables.Validity(retries=pairs, pair_rate=_PAIR_RATE),
        notes=NOTES,
    )


async def window(rig: Rig, plan: Plan, order: Order) -> Result:
    """Measure the director for one window, a moment after the switch of the arm."""
    started = rig.utc()
    try:
        await rig.ready()
        await rig.sleep_until(rig.now() + _SETTLE_S)
        began = await rig.sample()
        await rig.sleep_until(rig.now() + plan.load.window_s)
        return Result(told(order, started, plan, (began, await rig.sample())), {})
    except _CANNOT as error:
        return Result(judge.failed(order, started, plan, str(error)), {})


def told(order: Order, started: str, plan: Plan, edges: tuple[Sample, Sample]) -> Trial:
    """Return what two samples of the director say of the window between them."""
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
        return "the director does not count connections: is ip_vs loaded?"
    if connections < LEAST_CONNECTIONS:
        return f"{connections} connections in {seconds:.0f} s; {LEAST_CONNECTIONS} are the least"
    return None


def _metrics(
    edges: tuple[Sample, Sample], connections: int | None, seconds: float
) -> Mapping[str, float]:
    busy = cpu.busy_s(*edges)
    packets = work.packets(*edges)
    interrupts = max(judge.by_line(edges).values(), default=None)
    found = {
        "connections_per_s": judge.per(connections, seconds),
        "cpu_us_per_connection": judge.per(None if busy is None else busy * 1e6, connections),
        "cpu_us_per_packet": judge.per(None if busy is None else busy * 1e6, packets),
        "interrupts_per_connection": judge.per(interrupts, connections),
        "packets_per_connection": judge.per(packets, connections),
        "director_idle_percent": cpu.idle_percent(*edges),
    }
    return {name: value for name, value in found.items() if value is not None}
