"""Types for what was observed in a trial, and totals over all clients. Pure.

Intended connections are the connections in the clients' schedules. Attempted connections are those
that the clients really started. The clients cause the difference, so these connections never count
as lost by the director.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from dirtune.analyse import cpu
from dirtune.analyse.cpu import Sample
from dirtune.analyse.run import NodeCpu, TrialKind
from dirtune.collect.processes import Process
from dirtune.plan import generators
from dirtune.plan.generators import Part, Report, Schedule
from dirtune.plan.tables import Plan

# The kernel's counters whose sum is the named sign of overload.
_SIGNALS = {
    "syn_retransmits": ("TcpExt.TCPSynRetrans",),
    # The kernel also counts an overflow as a drop (net/ipv4/tcp_ipv4.c, tcp_v4_syn_recv_sock()).
    "listen_drops": ("TcpExt.ListenDrops",),
    "resets_sent": ("Tcp.OutRsts",),
    "tx_dropped": ("tx_dropped",),
}


class LoadPath(StrEnum):
    """The path that the connections of a trial take."""

    IPVS = "ipvs"
    """Through a service of the director."""
    ROUTED = "routed"
    """Through the director as a plain router."""
    PAST = "past"
    """Directly to a server, past the director."""


@dataclass(frozen=True, slots=True)
class Order:
    """The order to run one trial, with its id, arm, kind and rate."""

    id: str
    arm: str
    kind: TrialKind
    rate: float
    pair: int | None = None
    probes: tuple[str, ...] = ("irq",)
    """The probes to load on the director; only for a profiled trial."""
    path: LoadPath = LoadPath.IPVS


@dataclass(frozen=True, slots=True)
class ClientResult:
    """The result of the load generators on one client."""

    host: str
    started_s: float | None = None
    """The time at which the client's load started, by the controller's clock."""
    reports: tuple[Report, ...] = ()
    """The report of each load generator process on the client, in the order of
    `Generator.parts`."""
    error: str | None = None
    """The reason why the reports are missing; None if there are reports."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that was observed in a trial."""

    order: Order
    started: str
    schedules: tuple[Schedule, ...]
    """When each client starts its connections, in the order of `clients`."""
    settle_s: float
    settled: bool
    clients: tuple[ClientResult, ...]
    edges: tuple[Sample, Sample]
    """Samples of the director at the start and at the end of the window."""
    apart_s: float
    """Seconds between these two samples, by the controller's clock."""
    around: tuple[Sample, Sample]
    """Samples of the director before the load, and after the last connections have ended."""
    host: dict[str, float]
    stolen_s: float | None = None
    """CPU seconds that were stolen from the director in the window; None if the director is not a
    guest of this machine."""
    nodes: tuple[NodeCpu, ...] = ()
    lead_s: float = 0.0
    """Seconds of load before the window began."""
    programs: tuple[tuple[Process, ...], tuple[Process, ...]] = ((), ())
    """The director's processes before the load and after it; empty if they were not read."""
    problems: tuple[str, ...] = field(default=())
    """Problems of the trial, besides the errors of the clients."""
    signals: dict[str, dict[str, float]] = field(default_factory=dict)
    """Signs of overload on the real servers and clients in the window, by label."""
    shares: dict[str, int] = field(default_factory=dict)
    """Number of connections to each real server over the entire load; empty if the director does
    not count them."""

    def reports(self) -> Iterator[Report]:
        """Return the reports of all load generator processes on all clients."""
        return (report for client in self.clients for report in client.reports)


def parts(facts: Facts, plan: Plan) -> tuple[tuple[Part, ...], ...]:
    """Return the schedules of the load generator processes, in one tuple for each client."""
    generator = generators.find(plan.load.generator)
    return tuple(generator.parts(plan.load, ticks) for ticks in facts.schedules)


def intended(facts: Facts, plan: Plan) -> int:
    """Return the number of connections in the clients' schedules; 0 for a closed loop."""
    if not plan.load.open_loop:
        return 0
    return sum(part.ticks.connections for client in parts(facts, plan) for part in client)


def attempted(facts: Facts, plan: Plan) -> int:
    """Return the number of connections that the clients started.

    If the load generator does not report this number, the result is the director's own count, or
    for a closed loop the number of connections that ended.
    """
    known = [report.attempted for report in facts.reports()]
    if None not in known:
        return sum(count for count in known if count is not None)
    counted = delta(facts.around, "connections")
    if plan.load.open_loop and facts.order.path == LoadPath.IPVS and counted is not None:
        return counted
    return replied(facts) + sum(failed(facts).values())


def replied(facts: Facts) -> int:
    """Return the number of good replies over the entire load."""
    return sum(report.replied for report in facts.reports())


def failed(facts: Facts) -> dict[str, int]:
    """Return the number of failed connections by kind of failure."""
    return _summed(report.failed for report in facts.reports())


def unsent(facts: Facts) -> dict[str, int]:
    """Return the number of connections that the clients could not start.

    The result is by the resource that the clients lacked, such as ports.
    """
    return _summed(report.unsent for report in facts.reports())


def delta(between: tuple[Sample, Sample], name: str) -> int | None:
    """Return how much the IPVS counter *name* rose between two samples; None if it is missing."""
    earlier, later = (sample.ip_vs.get(name) for sample in between)
    return None if earlier is None or later is None else later - earlier


def others(facts: Facts) -> dict[str, float]:
    """Return the CPU time of each program on the director during the load, in per cent of one CPU.

    Kernel threads are left out, because they do the director's own work. If a process started
    during the load, all of its CPU time counts.
    """
    earlier, later = facts.programs
    had = {process.pid: process.ticks for process in earlier}
    ticks = (facts.around[1].at_s - facts.around[0].at_s) * cpu.USER_HZ
    if ticks <= 0:
        return {}
    took = {
        process: process.ticks - had.get(process.pid, 0) for process in later if not process.kernel
    }
    return {
        f"{process.name} (pid {process.pid})": 100 * count / ticks
        for process, count in took.items()
    }


def spread_ms(facts: Facts) -> float | None:
    """Return the milliseconds between the starts of the first and the last client.

    The result is None if no start is known.
    """
    starts = [c.started_s for c in facts.clients if c.started_s is not None]
    return 1000 * (max(starts) - min(starts)) if starts else None


def delays_ms(facts: Facts) -> dict[str, float]:
    """Return how many milliseconds after the first client each client started.

    A client whose start is unknown is left out.
    """
    starts = {c.host: c.started_s for c in facts.clients if c.started_s is not None}
    first = min(starts.values(), default=0.0)
    return {host: 1000 * (start - first) for host, start in starts.items()}


def not_attempted(facts: Facts, plan: Plan) -> dict[str, int]:
    """Return the number of scheduled connections that each client did not start.

    The result has only the clients whose load generator reports its attempted connections.
    """
    missing = {}
    for client, scheduled in zip(facts.clients, parts(facts, plan), strict=True):
        known = [report.attempted for report in client.reports]
        if known and None not in known:
            planned = sum(part.ticks.connections for part in scheduled)
            missing[client.host] = planned - sum(count for count in known if count is not None)
    return missing


def signals(
    earlier: Mapping[str, Sample], later: Mapping[str, Sample]
) -> dict[str, dict[str, float]]:
    """Return signs of overload on each node between two samples, such as dropped connections.

    The result is by node, then by name; an unknown number is left out.
    """
    return {name: _signals(earlier[name], later[name]) for name in earlier if name in later}


def _signals(earlier: Sample, later: Sample) -> dict[str, float]:
    idle = cpu.idle_percent(earlier, later)
    found: dict[str, float | None] = {
        "time_wait": later.net.get("time_wait"),
        "busy_percent": None if idle is None else 100 - idle,
        "busiest_cpu_percent": cpu.busiest_percent(earlier, later),
    }
    for name, counters in _SIGNALS.items():
        if all(c in earlier.net and c in later.net for c in counters):
            found[name] = sum(later.net[c] - earlier.net[c] for c in counters)
    return {name: value for name, value in found.items() if value is not None}


def _summed(counts: Iterator[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for by_name in counts:
        for name, count in by_name.items():
            total[name] = total.get(name, 0) + count
    return total
