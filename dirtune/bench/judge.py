"""Compute the results and the validity of a trial from what was observed. Pure.

CPU time and connections are differences of the director's own counters between the start and the
end of the window. If the load generator logs replies, a reply counts if it was completed within
the window, by its client's clock.
"""

import math

from dirtune.analyse import cpu, work
from dirtune.analyse.cpu import Sample
from dirtune.analyse.limiting_node import DROPS
from dirtune.analyse.rates import interrupts
from dirtune.analyse.run import Trial, TrialKind, Validity
from dirtune.bench import outcome, validity
from dirtune.bench.outcome import Facts, LoadPath, Order
from dirtune.latency import Latency
from dirtune.plan import generators
from dirtune.plan.generators import Reply, weighted
from dirtune.plan.tables import Plan


def judge(facts: Facts, plan: Plan) -> Trial:
    """Return the finished trial, with its results and its validity."""
    verdict, reason = validity.verdict(facts, plan)
    order, seconds = facts.order, _by_second(facts, plan)
    replies = [reply for second in seconds for reply in second]
    rate = _reply_rate(facts, replies, plan)
    latency = _latency(facts, replies)
    return Trial(
        id=order.id,
        arm=order.arm,
        kind=_kind(order, plan),
        pair=order.pair,
        started=facts.started,
        offered_rate=_offered(facts, rate, plan),
        window_s=round(facts.apart_s, 3),
        intended=outcome.intended(facts, plan),
        attempted=outcome.attempted(facts, plan),
        replied=outcome.replied(facts),
        failed=outcome.failed(facts),
        reply_rate=rate,
        latency=latency,
        validity=verdict,
        reason=reason,
        metrics=_metrics(facts, rate, latency),
        counters=_counters(facts),
        settle_s=facts.settle_s,
        settled=facts.settled,
        shares=facts.shares,
        nodes=facts.nodes,
        host=facts.host,
        generator=plan.load.generator,
        polls=generators.find(plan.load.generator).ABILITIES.polls,
        labels=validity.labels(facts, plan, _per_second(seconds, plan)),
        unsent=outcome.unsent(facts),
        signals=facts.signals,
    )


def failed(order: Order, started: str, plan: Plan, reason: str) -> Trial:
    """Return a trial without results that failed for *reason*."""
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
        validity=Validity.SETUP_ERROR,
        reason=reason,
        metrics={},
        counters={},
        settle_s=0.0,
        settled=False,
        generator=plan.load.generator,
        polls=generators.find(plan.load.generator).ABILITIES.polls,
    )


def _kind(order: Order, plan: Plan) -> TrialKind:
    is_judged = order.kind == TrialKind.JUDGED
    return TrialKind.PEAK if is_judged and not plan.load.open_loop else order.kind


def _offered(facts: Facts, reply_rate: float, plan: Plan) -> float:
    if not plan.load.open_loop:
        return round(reply_rate, 3)
    return round(sum(ticks.rate for ticks in facts.schedules), 3)


def _logged(facts: Facts) -> bool:
    """Return whether the load generators logged the time of each reply."""
    return all(report.elapsed_s is None for report in facts.reports())


def _reply_rate(facts: Facts, replies: list[Reply], plan: Plan) -> float:
    if _logged(facts):
        return len(replies) / plan.load.keepalive / plan.load.window_s
    # Each process has its own duration: with a ramp, some processes start later.
    return sum(r.replied / r.elapsed_s for r in facts.reports() if r.elapsed_s)


def _by_second(facts: Facts, plan: Plan) -> list[list[Reply]]:
    """Return the good replies in the window, in one list for each second.

    A client's window opens `lead_s` seconds after its first request, by its own clock.
    """
    seconds: list[list[Reply]] = [[] for _ in range(math.ceil(plan.load.window_s))]
    for client in facts.clients:
        rows = [reply for report in client.reports for reply in report.replies]
        first = min((reply.start_us for reply in rows), default=0)
        opens = first + facts.lead_s * 1e6
        closes = opens + plan.load.window_s * 1e6
        for reply in rows:
            if opens <= reply.end_us < closes and 200 <= reply.status < 300:
                seconds[int((reply.end_us - opens) / 1e6)].append(reply)
    return seconds


def _per_second(seconds: list[list[Reply]], plan: Plan) -> tuple[list[int], list[float]]:
    """Return the number of replies, and the mean number of open requests, in each full second."""
    whole = seconds[: int(plan.load.window_s)]
    # By Little's law, the mean number of open requests is the summed duration of the requests
    # that ended in a second.
    opened = [sum(reply.took_us for reply in second) / 1e6 for second in whole]
    return [len(second) for second in whole], opened


def _latency(facts: Facts, replies: list[Reply]) -> Latency | None:
    if replies:
        took = sorted(reply.took_us / 1000 for reply in replies)
        return Latency(sum(took) / len(took), _rank(took, 0.50), _rank(took, 0.99))
    known = [(r.latency, r.replied) for r in facts.reports() if r.latency is not None]
    if not known:
        return None
    mean = weighted([(latency.mean_ms, n) for latency, n in known])
    ranks = _ranks(facts) or (
        weighted([(latency.p50_ms, n) for latency, n in known]),
        weighted([(latency.p99_ms, n) for latency, n in known]),
    )
    if mean is None or ranks[0] is None or ranks[1] is None:
        return None
    return Latency(mean, ranks[0], ranks[1], of=known[0][0].of)


def _ranks(facts: Facts) -> tuple[float, float] | None:
    """Return the median and the 99th percentile of the latencies, in milliseconds.

    They are computed from the histograms of all generator processes. The result is None if no
    process printed a histogram.
    """
    steps = sorted(step for report in facts.reports() for step in report.histogram)
    values = [middle for middle, count in steps for _ in range(count)]
    return (_rank(values, 0.50), _rank(values, 0.99)) if values else None


def _rank(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _metrics(facts: Facts, reply_rate: float, latency: Latency | None) -> dict[str, float]:
    connections = _passed(facts, reply_rate)
    busy, stolen = cpu.busy_s(*facts.edges), facts.stolen_s
    if busy is not None and stolen is not None:
        # A guest's clock runs on while its CPU is stolen, and the guest counts this time as work.
        busy = max(0.0, busy - stolen)
    packets = work.packets(*facts.edges)
    interrupts = max(by_line(facts.edges).values(), default=None)
    metrics: dict[str, float | None] = {
        "reply_rate": reply_rate,
        "cpu_us_per_connection": per(None if busy is None else busy * 1e6, connections),
        "cpu_us_per_packet": per(
            None if busy is None else busy * 1e6, None if connections is None else packets
        ),
        "stolen_us_per_connection": per(None if stolen is None else stolen * 1e6, connections),
        "interrupts_per_connection": per(interrupts, connections),
        "packets_per_connection": per(packets, connections),
        "director_idle_percent": cpu.idle_percent(*facts.edges),
        "director_connections_per_s": per(
            outcome.delta(facts.edges, "connections"), facts.edges[1].at_s - facts.edges[0].at_s
        ),
        "connect_ms": weighted([(r.connect_ms, r.replied) for r in facts.reports()]),
        "latency_p50_ms": None if latency is None else latency.p50_ms,
        "latency_p99_ms": None if latency is None else latency.p99_ms,
        "start_spread_ms": outcome.spread_ms(facts),
    }
    return {name: value for name, value in metrics.items() if value is not None}


def _passed(facts: Facts, reply_rate: float) -> float | None:
    """Return the number of connections through the director within the window; None if unknown."""
    if facts.order.path == LoadPath.IPVS:
        return outcome.delta(facts.edges, "connections")
    return reply_rate * facts.apart_s if facts.order.path == LoadPath.ROUTED else None


def per(amount: float | None, connections: float | None) -> float | None:
    """Return *amount* per connection; None if a value is unknown or there was no connection."""
    return None if amount is None or not connections else amount / connections


def by_line(between: tuple[Sample, Sample]) -> dict[str, int]:
    """Return the number of interrupts on each interrupt line between two samples.

    Lines without interrupts are left out.
    """
    earlier, later = between
    seconds = later.at_s - earlier.at_s
    known = (irq for irq in later.lines if irq in earlier.lines)
    moved = {irq: interrupts(earlier.lines[irq], later.lines[irq], seconds) for irq in known}
    return {irq: count for irq, count in moved.items() if count}


def _counters(facts: Facts) -> dict[str, int]:
    total = outcome.delta(facts.around, "connections")
    return {**counters(facts.edges), **({} if total is None else {"connections_total": total})}


def counters(edges: tuple[Sample, Sample]) -> dict[str, int]:
    """Return how much each counter of the director rose between two samples."""
    names = edges[0].ip_vs
    moved = {n: delta for n in names if (delta := outcome.delta(edges, n)) is not None}
    lines = {f"irq_{irq}": count for irq, count in by_line(edges).items()}
    before, after = (edge.net for edge in edges)
    moved |= {n: after[n] - before[n] for n in DROPS if n in before and n in after}
    return {**moved, **lines}
