"""What a trial's raw facts say: its numbers, and whether they may be used. Pure.

Intended is what the schedule asked for, attempted is what the clients began, and the difference
is the clients' fault, never the director's loss. CPU time and connections are the director's own
counters at the edges of the window; replies are those complete in it, on each client's clock.
"""

from dataclasses import dataclass, field
from itertools import chain

from dirtune.analyse import cpu
from dirtune.analyse.cpu import Sample
from dirtune.analyse.run import Latency, NodeCpu, Trial
from dirtune.bench.h2load import Reply, Schedule, Summary, failures
from dirtune.bench.plan import Plan, seconds


@dataclass(frozen=True, slots=True)
class Order:
    """Which trial it is."""

    id: str
    arm: str
    kind: str
    rate: float
    pair: int | None = None
    probes: tuple[str, ...] = ("irq",)
    """Of a profiled trial, on its director."""
    path: str = "ipvs"
    """How its connections go: through `ipvs`, `routed` by the director, or `past` it."""


@dataclass(frozen=True, slots=True)
class ClientResult:
    """What one client's generator left."""

    host: str
    started_s: float | None = None
    """When it said that it began, on the controller's clock."""
    summary: Summary | None = None
    replies: tuple[Reply, ...] = ()
    error: str | None = None
    """Why there is no summary."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything a trial saw."""

    order: Order
    started: str
    schedules: tuple[Schedule, ...]
    """Of each client, in the order of `clients`."""
    settle_s: float
    settled: bool
    clients: tuple[ClientResult, ...]
    edges: tuple[Sample, Sample]
    """The director at the window's edges."""
    around: tuple[Sample, Sample]
    """The director before the load and after the drain."""
    host: dict[str, float]
    stolen_s: float | None = None
    """Seconds stolen within the window from the CPUs of a guest director; None for any other."""
    nodes: tuple[NodeCpu, ...] = ()
    problems: tuple[str, ...] = field(default=())
    """What else went wrong, beyond the clients' own errors."""


def judge(facts: Facts, plan: Plan) -> Trial:
    """Return the trial with its numbers and its validity."""
    validity, reason = _validity(facts, plan)
    order, summaries = facts.order, _summaries(facts)
    replies = _in_window(facts, plan)
    return Trial(
        id=order.id,
        arm=order.arm,
        kind=order.kind,
        pair=order.pair,
        started=facts.started,
        offered_rate=_offered(facts),
        window_s=plan.load.window_s,
        intended=_intended(facts),
        attempted=sum(s.started for s in summaries),
        replied=sum(s.succeeded for s in summaries),
        failed=_failed(summaries),
        reply_rate=len(replies) / plan.load.window_s,
        latency=_latency(replies),
        validity=validity,
        reason=reason,
        metrics=_metrics(facts, replies, plan),
        counters=_counters(facts),
        settle_s=facts.settle_s,
        settled=facts.settled,
        nodes=facts.nodes,
        host=facts.host,
    )


def failed(order: Order, started: str, plan: Plan, reason: str) -> Trial:
    """Return a trial that could not be carried out; it has no numbers."""
    return Trial(
        id=order.id,
        arm=order.arm,
        kind=order.kind,
        pair=order.pair,
        started=started,
        offered_rate=order.rate,
        window_s=plan.load.window_s,
        intended=0,
        attempted=0,
        replied=0,
        failed={},
        reply_rate=0.0,
        latency=None,
        validity="setup_error",
        reason=reason,
        metrics={},
        counters={},
        settle_s=0.0,
        settled=False,
    )


def _validity(facts: Facts, plan: Plan) -> tuple[str, str | None]:
    """Return the first of the checks that fails: what broke, then who was slow, then noise."""
    if broken := _setup_error(facts, plan):
        return "setup_error", broken
    if limited := _client_limit(facts, plan):
        return "client_limited", limited
    if noise := _noise(facts, plan):
        return "noisy", noise
    return "valid", None


def _setup_error(facts: Facts, plan: Plan) -> str | None:
    errors = [f"{c.host}: {c.error}" for c in facts.clients if c.error is not None]
    if errors or facts.problems:
        return "; ".join((*errors, *facts.problems))
    if facts.order.path != "ipvs":
        return None
    counted = _delta(facts.around, "connections")
    if counted is None:
        return "the director has no /proc/net/ip_vs_stats_percpu: is ip_vs loaded there?"
    if not _delta(facts.edges, "connections"):
        return "the director counted no connection within the window"
    attempted = sum(s.started for s in _summaries(facts))
    difference = 100 * abs(counted - attempted) / max(attempted, 1)
    if difference > plan.validity.connections:
        return (
            f"the director counted {counted} connections and the clients began {attempted}: "
            "the traffic does not all pass the director, or is not all ours"
        )
    return None


def _client_limit(facts: Facts, plan: Plan) -> str | None:
    intended = _intended(facts)
    unsent = 100 * (intended - sum(s.started for s in _summaries(facts))) / intended
    if unsent > plan.validity.unsent:
        return f"{unsent:.2f} % of the intended connections were not begun"
    allowed = 1 + plan.validity.late / 100
    for client, ticks in zip(facts.clients, facts.schedules, strict=True):
        planned_s = (ticks.connections // ticks.batch - 1) * ticks.period_ms / 1000
        took_s = _span_s(client.replies)
        if took_s > planned_s * allowed + plan.load.timeout_s:
            return f"{client.host}: took {took_s:.1f} s to start what {planned_s:.1f} s were for"
    return None


def _noise(facts: Facts, plan: Plan) -> str | None:
    starts = [c.started_s for c in facts.clients if c.started_s is not None]
    spread, limit = max(starts) - min(starts), seconds(plan.validity.start_spread)
    if spread > limit:
        return f"the clients began {1000 * spread:.0f} ms apart"
    stolen = {
        "the director": (cpu.shares(*facts.edges) or {}).get("steal"),
        "this machine": facts.host.get("steal"),
    }
    for where, steal in stolen.items():
        if steal is not None and steal > plan.validity.steal:
            return f"{steal:.1f} % of the time of {where} was stolen"
    return None


def _summaries(facts: Facts) -> list[Summary]:
    return [c.summary for c in facts.clients if c.summary is not None]


def _intended(facts: Facts) -> int:
    return sum(ticks.connections for ticks in facts.schedules)


def _offered(facts: Facts) -> float:
    return round(sum(ticks.rate for ticks in facts.schedules), 3)


def _failed(summaries: list[Summary]) -> dict[str, int]:
    total: dict[str, int] = {}
    for name, count in chain.from_iterable(failures(s).items() for s in summaries):
        total[name] = total.get(name, 0) + count
    return total


def _span_s(replies: tuple[Reply, ...]) -> float:
    if not replies:
        return 0.0
    starts = [reply.start_us for reply in replies]
    return (max(starts) - min(starts)) / 1e6


def _in_window(facts: Facts, plan: Plan) -> list[Reply]:
    """Return the good replies that were complete within the window, on each client's clock."""
    found: list[Reply] = []
    for client in facts.clients:
        first = min((reply.start_us for reply in client.replies), default=0)
        opens = first + plan.load.warmup_s * 1e6
        closes = opens + plan.load.window_s * 1e6
        found += (
            reply
            for reply in client.replies
            if opens <= reply.end_us < closes and 200 <= reply.status < 300
        )
    return found


def _latency(replies: list[Reply]) -> Latency | None:
    if not replies:
        return None
    took = sorted(reply.took_us / 1000 for reply in replies)
    return Latency(sum(took) / len(took), _rank(took, 0.50), _rank(took, 0.99))


def _rank(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _metrics(facts: Facts, replies: list[Reply], plan: Plan) -> dict[str, float]:
    passed = {"ipvs": _delta(facts.edges, "connections"), "routed": len(replies)}
    connections = passed.get(facts.order.path)
    busy, stolen = cpu.busy_s(*facts.edges), facts.stolen_s
    if busy is not None and stolen is not None:
        # A guest's clock runs on while its CPU is away: to the guest that is work.
        busy = max(0.0, busy - stolen)
    packets = _delta(facts.edges, "packets_in")
    interrupts = max(_interrupts(facts.edges).values(), default=None)
    latency = _latency(replies)
    found: dict[str, float | None] = {
        "reply_rate": len(replies) / plan.load.window_s,
        "cpu_us_per_connection": _per(None if busy is None else busy * 1e6, connections),
        "stolen_us_per_connection": _per(None if stolen is None else stolen * 1e6, connections),
        "interrupts_per_connection": _per(interrupts, connections),
        "packets_per_connection": _per(packets, connections),
        "director_idle_percent": cpu.idle_percent(*facts.edges),
        "connect_ms": _connect_ms(facts),
        "latency_p50_ms": None if latency is None else latency.p50_ms,
        "latency_p99_ms": None if latency is None else latency.p99_ms,
        "start_spread_ms": _spread_ms(facts),
    }
    return {name: value for name, value in found.items() if value is not None}


def _per(amount: float | None, connections: int | None) -> float | None:
    return None if amount is None or not connections else amount / connections


def _connect_ms(facts: Facts) -> float | None:
    means = [s.connect.mean_us for s in _summaries(facts) if s.connect is not None]
    return sum(means) / len(means) / 1000 if means else None


def _spread_ms(facts: Facts) -> float | None:
    starts = [c.started_s for c in facts.clients if c.started_s is not None]
    return 1000 * (max(starts) - min(starts)) if starts else None


def _delta(between: tuple[Sample, Sample], name: str) -> int | None:
    earlier, later = (sample.ip_vs.get(name) for sample in between)
    return None if earlier is None or later is None else later - earlier


def _interrupts(between: tuple[Sample, Sample]) -> dict[str, int]:
    earlier, later = between
    known = (irq for irq in later.lines if irq in earlier.lines)
    # Lines are counted in 32 bits and may run over.
    moved = {irq: (later.lines[irq] - earlier.lines[irq]) % 2**32 for irq in known}
    return {irq: count for irq, count in moved.items() if count}


def _counters(facts: Facts) -> dict[str, int]:
    names = facts.edges[0].ip_vs
    moved = {name: delta for name in names if (delta := _delta(facts.edges, name)) is not None}
    lines = {f"irq_{irq}": count for irq, count in _interrupts(facts.edges).items()}
    total = _delta(facts.around, "connections")
    return {**moved, **lines, **({} if total is None else {"connections_total": total})}
