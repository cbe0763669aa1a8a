"""Decide by the limits of the plan if a trial is valid. Pure.

If several of `setup_error`, `client_limited` and `noisy` apply to a trial, the first in this order
becomes its validity.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dirtune.analyse import cpu
from dirtune.analyse.bottleneck import FULL_PERCENT
from dirtune.analyse.run import Validity
from dirtune.bench import outcome, steady
from dirtune.bench.outcome import ClientResult, Facts, LoadPath
from dirtune.bench.ports_and_duration import TABLE_LIFE_S
from dirtune.plan.generators import Part, Report
from dirtune.plan.tables import Plan
from dirtune.plan.values import seconds

# At any rate, fewer connections than this without a pause are not a stall.
_BURST_MIN = 3
# If more than this percentage of the attempted connections failed, the trial gets a label.
_NOTABLE = 0.1
# A window that lasted less than this share of the plan's window is noise.
_SHORTEST = 0.8
# Seconds by which one sample may reach this machine later than the other.
_ANSWER_S = 0.5
# Connections by which the share of a real server may differ, if the load ends within a round.
_ROUND = 2


@dataclass(frozen=True, slots=True)
class _Excess:
    """How far a client (a load generator's host) exceeded a limit of the measurement plan."""

    client: str
    times: float
    """The excess as a multiple of the limit, to find the worst client."""
    reason: str


def verdict(facts: Facts, plan: Plan) -> tuple[Validity, str | None]:
    """Return the validity of a trial, and the reason; the reason is None for a valid trial."""
    for name, reasons in (
        (Validity.SETUP_ERROR, _setup_errors(facts, plan)),
        (Validity.CLIENT_LIMITED, _client_limits(facts, plan)),
        (Validity.NOISY, _noise(facts, plan)),
    ):
        for reason in reasons:
            return name, reason
    return Validity.VALID, None


def labels(facts: Facts, plan: Plan, per_second: tuple[list[int], list[float]]) -> tuple[str, ...]:
    """Return short texts that a reader of the results must know, such as `not steady: ...`.

    *per_second* holds the number of replies and of open requests in each second of the window;
    both lists are empty if the load generator logs no replies.
    """
    texts = [] if plan.load.open_loop else ["closed loop: shows the peak rate, but not loss"]
    if plan.load.load_s < TABLE_LIFE_S:
        texts.append("short")
    if plan.load.keepalive > 1:
        texts.append(f"{plan.load.keepalive} requests per connection")
    if facts.lead_s > plan.load.lead_s:
        texts.append(f"the warm-up was extended to {facts.lead_s - plan.load.ramp_s:g} s")
    before, after = facts.edges
    grew = steady.growing(before.inactive, after.inactive, plan.load.window_s)
    reasons = (steady.unsteady(*per_second), grew)
    texts += [f"not steady: {reason}" for reason in reasons if reason is not None]
    return (*texts, *_not_the_director(facts, plan))


def _setup_errors(facts: Facts, plan: Plan) -> Iterator[str]:
    errors = [f"{c.host}: {c.error}" for c in facts.clients if c.error is not None]
    if errors or facts.problems:
        yield "; ".join((*errors, *facts.problems))
    if facts.order.path != LoadPath.IPVS:
        return
    counted = outcome.delta(facts.around, "connections")
    if counted is None:
        yield "the director lacks /proc/net/ip_vs_stats_percpu; check that ip_vs is loaded there"
        return
    if not outcome.delta(facts.edges, "connections"):
        yield "the director counted no connections within the window"
    yield from _miscounted(facts, plan, counted)
    yield from _refused(facts, plan)
    yield from _misshared(facts, plan)


def _miscounted(facts: Facts, plan: Plan, counted: int) -> Iterator[str]:
    # A failed connection may have been lost before it reached the director. But the director must
    # have counted every answered connection, and no connection that no client started.
    attempted, replied = outcome.attempted(facts, plan), outcome.replied(facts)
    unfinished = 0 if plan.load.open_loop else plan.load.connections * len(facts.clients)
    allowed = max(attempted, 1) * plan.validity.connections / 100
    if counted > attempted + allowed + unfinished or counted < replied - allowed:
        yield (
            f"the director counted {counted} connections, but the clients began {attempted}; "
            "some traffic bypasses the director, or others use it"
        )


def _refused(facts: Facts, plan: Plan) -> Iterator[str]:
    connections = outcome.delta(facts.edges, "connections") or 1
    servers = {server.label for server in plan.real_servers}
    for name, seen in facts.signals.items():
        resets = seen.get("resets_sent", 0)
        if name in servers and 100 * resets / connections > plan.validity.refused:
            yield f"{name} refused {resets:.0f} connections; check that its server is running"


def _misshared(facts: Facts, plan: Plan) -> Iterator[str]:
    service, total, weights = plan.service, sum(facts.shares.values()), _weights(plan)
    promises = service.scheduler in {"rr", "wrr"} and facts.shares.keys() == weights.keys()
    if not promises or not total:
        return
    for name, count in facts.shares.items():
        promised = total * weights[name] / sum(weights.values())
        if abs(count - promised) > total * plan.validity.shares / 100 + _ROUND:
            yield (
                f"{name} got {count / total:.1%} of the connections, but the scheduler "
                f"{service.scheduler} should give it {promised / total:.1%}; client ports were "
                "reused, or the director has another scheduler"
            )


def _client_limits(facts: Facts, plan: Plan) -> Iterator[str]:
    lacked = outcome.unsent(facts)
    if lacked:
        by_name = ", ".join(f"{name} {count}" for name, count in lacked.items())
        most = _most({c.host: _unsent(c) for c in facts.clients})
        yield f"the clients could not start {sum(lacked.values())} connections ({by_name}; {most})"
    intended = outcome.intended(facts, plan)
    missing = intended - outcome.attempted(facts, plan)
    if intended and (percent := 100 * missing / intended) > plan.validity.unsent:
        most = _most(outcome.not_attempted(facts, plan))
        where = f" ({most})" if most else ""
        yield f"the clients did not start {percent:.2f} % of the scheduled connections{where}"
    yield from _worst_first(_late_clients(facts, plan))
    yield from _worst_first(_busy_clients(facts, plan))
    for client in plan.clients:
        dropped = facts.signals.get(client.label, {}).get("tx_dropped")
        if dropped:
            yield f"{client.label}: the NIC dropped {dropped:.0f} outgoing packets"


def _unsent(client: ClientResult) -> int:
    return sum(sum(report.unsent.values()) for report in client.reports)


def _most(counts: dict[str, int]) -> str:
    """Return the clients with a count above 0, the largest count first, such as `c1 50, c2 10`."""
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {count}" for name, count in ranked if count > 0)


def _worst_first(excesses: Iterable[_Excess]) -> Iterator[str]:
    """Yield one reason that lists the clients that exceeded a limit, the worst client first.

    For each client, the limit that it exceeded most is named. If a client gets too little CPU
    time, other clients may exceed a limit as a consequence.
    """
    ranked = sorted(excesses, key=lambda excess: -excess.times)
    worst: dict[str, str] = {}
    for excess in ranked:
        worst.setdefault(excess.client, excess.reason)
    if worst:
        yield "; ".join(f"{client}: {reason}" for client, reason in worst.items())


def _late_clients(facts: Facts, plan: Plan) -> Iterator[_Excess]:
    for client, parts in zip(facts.clients, outcome.parts(facts, plan), strict=True):
        for report, part in zip(client.reports, parts, strict=False):
            for times, reason in _late(report, part, plan):
                yield _Excess(client.host, times, reason)


def _late(report: Report, part: Part, plan: Plan) -> Iterator[tuple[float, str]]:
    """Yield a ratio and a reason for each limit of the plan that a generator process violated.

    The ratio is above 1; a greater ratio means a greater violation.
    """
    if not plan.load.open_loop:
        return
    planned_s, limits = part.ticks.lasts_s, plan.validity
    # The duration is only as exact as the start times; in a short load, their error exceeds 1 %.
    allowed_s = planned_s * (1 + limits.late / 100) + seconds(limits.start_spread)
    if report.span_s is not None and report.span_s > allowed_s:
        took, planned = f"{report.span_s:.2f} s", f"{planned_s:.2f} s"
        yield (
            report.span_s / allowed_s,
            f"starting all connections took {took} instead of {planned}",
        )
    burst = max(_BURST_MIN, part.ticks.rate * seconds(limits.burst))
    if report.burst is not None and report.burst > burst:
        yield (
            report.burst / burst,
            f"the load generator stalled, then opened {report.burst} connections without a pause",
        )
    if report.poll_cpu_percent is not None and report.poll_cpu_percent < limits.poll_cpu:
        got = f"{report.poll_cpu_percent:.0f} % of a CPU"
        yield (
            limits.poll_cpu / max(1.0, report.poll_cpu_percent),
            f"{plan.load.generator} got {got}, but needs a full CPU",
        )


def _busy_clients(facts: Facts, plan: Plan) -> Iterator[_Excess]:
    if any(report.poll_cpu_percent is not None for report in facts.reports()):
        return
    limit = plan.validity.client_busy
    for client in plan.clients:
        busy = facts.signals.get(client.label, {}).get("busiest_cpu_percent", 0.0)
        if busy > limit:
            yield _Excess(client.label, busy / max(1.0, limit), f"a CPU was {busy:.0f} % busy")


def _apart(facts: Facts, plan: Plan) -> Iterator[str]:
    """Yield a reason if some clients started too long after the first client."""
    limit_ms = 1000 * seconds(plan.validity.start_spread)
    delays = sorted(outcome.delays_ms(facts).items(), key=lambda item: -item[1])
    late = {name: ms for name, ms in delays if ms > limit_ms}
    if late:
        first, _ = delays[-1]
        yield (
            f"{', '.join(f'{name} started {ms:.0f} ms' for name, ms in late.items())} after "
            f"{first}, but the limit is {limit_ms:.0f} ms; give {', '.join(late)} more CPU time, "
            "or raise validity.start_spread in the plan"
        )


def _noise(facts: Facts, plan: Plan) -> Iterator[str]:
    limits = plan.validity
    yield from _apart(facts, plan)
    if facts.apart_s < _SHORTEST * plan.load.window_s:
        yield (
            f"the window lasted {facts.apart_s:.1f} s instead of {plan.load.window_s:g} s, as the "
            "director's first sample came late; check if the director is overloaded"
        )
    before, after = facts.edges
    advanced_s = after.at_s - before.at_s
    if abs(advanced_s - facts.apart_s) > facts.apart_s * limits.clock / 100 + _ANSWER_S:
        yield (
            f"the director's clock advanced {advanced_s:.1f} s in {facts.apart_s:.1f} s of this "
            "machine's clock; check whether the director's host has too little CPU time for it"
        )
    stolen = {
        "the director": (cpu.shares(*facts.edges) or {}).get("steal"),
        "this machine": facts.host.get("steal"),
    }
    for where, steal in stolen.items():
        if steal is not None and steal > limits.steal:
            yield f"{steal:.1f} % of the CPU time of {where} was stolen"
    for program, percent in outcome.others(facts).items():
        if percent > limits.other_process:
            yield f"{program} used {percent:.0f} % of a CPU on the director"
    peak = facts.host.get("steal_peak", 0.0)
    if peak > limits.steal_peak:
        yield f"{peak:.1f} % of this machine's CPU time was stolen in one second"


def _not_the_director(facts: Facts, plan: Plan) -> Iterator[str]:
    """Yield the reasons to believe that a node other than the director limited the trial."""
    seen = facts.signals
    servers = {s.label: seen.get(s.label, {}) for s in plan.real_servers}
    for name, signals in servers.items():
        if drops := signals.get("listen_drops", 0):
            yield f"{name} limited the trial: its listen queue dropped {drops:.0f} connections"
        elif (busy := signals.get("busy_percent", 0.0)) > FULL_PERCENT:
            yield f"{name} limited the trial: it was {busy:.0f} % busy"
    repeated = sum(seen.get(c.label, {}).get("syn_retransmits", 0) for c in plan.clients)
    attempted = max(1, outcome.attempted(facts, plan))
    dropped = any(signals.get("listen_drops") for signals in servers.values())
    if 100 * repeated / attempted > _NOTABLE and not dropped:
        yield (
            f"the clients sent {repeated:.0f} SYNs again, but no real server dropped any; they "
            "were lost on the way or in the director, or client ports were reused"
        )


def _weights(plan: Plan) -> dict[str, int]:
    equal = plan.service.scheduler == "rr"
    return {
        label: 1 if equal else end.weight
        for end in plan.service.destinations
        if end.weight and (label := plan.destination(end)) is not None
    }
