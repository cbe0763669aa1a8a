"""The facts of a trial, and the totals from which its numbers and validity are computed. Pure.

Intended connections are in the clients' schedules; attempted connections were begun by the
clients. The clients cause the difference, so it never counts as the director's loss.
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

# Signal of a node -> the kernel's counters that add up to it.
_SIGNALS = {
    "syn_retransmits": ("TcpExt.TCPSynRetrans",),
    # An overflow is counted as a drop as well (net/ipv4/tcp_ipv4.c, tcp_v4_syn_recv_sock()).
    "listen_drops": ("TcpExt.ListenDrops",),
    "resets_sent": ("Tcp.OutRsts",),
    "tx_dropped": ("tx_dropped",),
}


class LoadPath(StrEnum):
    """The path that a trial's connections take."""

    IPVS = "ipvs"
    """Through a service of the director."""
    ROUTED = "routed"
    """Through the director as a plain router."""
    PAST = "past"
    """Straight to a server, past the director."""


@dataclass(frozen=True, slots=True)
class Order:
    """A trial to run."""

    id: str
    arm: str
    kind: TrialKind
    rate: float
    pair: int | None = None
    probes: tuple[str, ...] = ("irq",)
    """Probes that a profiled trial loads on the director."""
    path: LoadPath = LoadPath.IPVS


@dataclass(frozen=True, slots=True)
class ClientResult:
    """The result of one client's generator."""

    host: str
    started_s: float | None = None
    """Start of the client's load, by the controller's clock."""
    reports: tuple[Report, ...] = ()
    """The report of each generator process, in the order of `Generator.parts`."""
    error: str | None = None
    """The reason why there are no reports; None if there are reports."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that was observed in a trial."""

    order: Order
    started: str
    schedules: tuple[Schedule, ...]
    """The schedule of each client, in the order of `clients`."""
    settle_s: float
    settled: bool
    clients: tuple[ClientResult, ...]
    edges: tuple[Sample, Sample]
    """Samples of the director at the window's edges."""
    around: tuple[Sample, Sample]
    """Samples of the director before the load and after the drain."""
    host: dict[str, float]
    stolen_s: float | None = None
    """CPU seconds stolen from a guest director in the window; None if it is not a guest."""
    nodes: tuple[NodeCpu, ...] = ()
    lead_s: float = 0.0
    """Seconds of load before the window."""
    programs: tuple[tuple[Process, ...], tuple[Process, ...]] = ((), ())
    """Processes of the director at the times of `around`; empty if they were not read."""
    problems: tuple[str, ...] = field(default=())
    """Problems other than the clients' errors."""
    signals: dict[str, dict[str, float]] = field(default_factory=dict)
    """Signals of the other nodes in the window by label, as `signals` returns them."""
    shares: dict[str, int] = field(default_factory=dict)
    """Connections of each destination over the entire load; empty if the director does not count
    them."""

    def reports(self) -> Iterator[Report]:
        """Return the reports of all processes."""
        return (report for client in self.clients for report in client.reports)


def parts(facts: Facts, plan: Plan) -> tuple[tuple[Part, ...], ...]:
    """Return the schedule of each process of each client."""
    generator = generators.find(plan.load.generator)
    return tuple(generator.parts(plan.load, ticks) for ticks in facts.schedules)


def intended(facts: Facts, plan: Plan) -> int:
    """Return the number of connections in the schedules; a closed loop has none."""
    if not plan.load.open_loop:
        return 0
    return sum(part.ticks.connections for client in parts(facts, plan) for part in client)


def attempted(facts: Facts, plan: Plan) -> int:
    """Return the number of connections that the clients began.

    If an open-loop generator does not count them, the director's count is used. For a closed loop,
    the connections that ended are counted.
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
    """Return the failed connections by class."""
    return _summed(report.failed for report in facts.reports())


def unsent(facts: Facts) -> dict[str, int]:
    """Return the connections that the clients could not begin, by the resource they lacked."""
    return _summed(report.unsent for report in facts.reports())


def delta(between: tuple[Sample, Sample], name: str) -> int | None:
    """Return the increase of an IPVS counter between two samples; None without the counter."""
    earlier, later = (sample.ip_vs.get(name) for sample in between)
    return None if earlier is None or later is None else later - earlier


def others(facts: Facts) -> dict[str, float]:
    """Return each program's CPU use on the director during the load, in per cent of one CPU.

    Kernel threads do the director's own work, so they are left out. For a process that started
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
    """Return the milliseconds between the first and the last client's start; None if unknown."""
    starts = [c.started_s for c in facts.clients if c.started_s is not None]
    return 1000 * (max(starts) - min(starts)) if starts else None


def signals(
    earlier: Mapping[str, Sample], later: Mapping[str, Sample]
) -> dict[str, dict[str, float]]:
    """Return the signals of each node between two samples, without unknown signals."""
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
