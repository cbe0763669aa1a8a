"""What a trial saw, and the sums that its numbers and its validity are made of. Pure.

Intended is what the schedule asked for, attempted is what the clients began, and the difference
is the clients' fault, never the director's loss.
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

# Signal of a node -> the kernel's counters that it sums.
_SIGNALS = {
    "syn_retransmits": ("TcpExt.TCPSynRetrans",),
    # An overflow is counted as a drop as well (net/ipv4/tcp_ipv4.c, tcp_v4_syn_recv_sock()).
    "listen_drops": ("TcpExt.ListenDrops",),
    "resets_sent": ("Tcp.OutRsts",),
    "tx_dropped": ("tx_dropped",),
}


class LoadPath(StrEnum):
    """The way that a trial's connections take."""

    IPVS = "ipvs"
    """Through a service of the director."""
    ROUTED = "routed"
    """Through the director as a plain router."""
    PAST = "past"
    """Past the director."""


@dataclass(frozen=True, slots=True)
class Order:
    """Which trial it is."""

    id: str
    arm: str
    kind: TrialKind
    rate: float
    pair: int | None = None
    probes: tuple[str, ...] = ("irq",)
    """Of a profiled trial, on its director."""
    path: LoadPath = LoadPath.IPVS


@dataclass(frozen=True, slots=True)
class ClientResult:
    """What one client's generator left."""

    host: str
    started_s: float | None = None
    """When it began, on the controller's clock."""
    reports: tuple[Report, ...] = ()
    """One of each of its processes, in the order of `Generator.parts`."""
    error: str | None = None
    """Why there are no reports."""


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
    lead_s: float = 0.0
    """How long the load had run when the window opened."""
    programs: tuple[tuple[Process, ...], tuple[Process, ...]] = ((), ())
    """Of the director, at the times of `around`; empty where they were not read."""
    problems: tuple[str, ...] = field(default=())
    """What else went wrong, beyond the clients' own errors."""
    signals: dict[str, dict[str, float]] = field(default_factory=dict)
    """What the other nodes' counters say of the window, by label, as `signals` has it."""
    shares: dict[str, int] = field(default_factory=dict)
    """Connections per destination over the whole load; empty if the director does not tell."""

    def reports(self) -> Iterator[Report]:
        """Return the reports of all processes."""
        return (report for client in self.clients for report in client.reports)


def parts(facts: Facts, plan: Plan) -> tuple[tuple[Part, ...], ...]:
    """Return what each client's processes were to do."""
    generator = generators.find(plan.load.generator)
    return tuple(generator.parts(plan.load, ticks) for ticks in facts.schedules)


def intended(facts: Facts, plan: Plan) -> int:
    """Return how many connections the schedules asked for; a closed loop is asked for none."""
    if not plan.load.open_loop:
        return 0
    return sum(part.ticks.connections for each in parts(facts, plan) for part in each)


def attempted(facts: Facts, plan: Plan) -> int:
    """Return how many connections the clients began.

    Of an open loop that does not say, what the director counted; of a closed loop what ended.
    """
    known = [report.attempted for report in facts.reports()]
    if None not in known:
        return sum(count for count in known if count is not None)
    counted = delta(facts.around, "connections")
    if plan.load.open_loop and facts.order.path == LoadPath.IPVS and counted is not None:
        return counted
    return replied(facts) + sum(failed(facts).values())


def replied(facts: Facts) -> int:
    """Return how many good replies there were over the whole load."""
    return sum(report.replied for report in facts.reports())


def failed(facts: Facts) -> dict[str, int]:
    """Return the failed connections by class."""
    return _summed(report.failed for report in facts.reports())


def unsent(facts: Facts) -> dict[str, int]:
    """Return what the clients could not begin, by what they lacked."""
    return _summed(report.unsent for report in facts.reports())


def delta(between: tuple[Sample, Sample], name: str) -> int | None:
    """Return how far an IPVS counter moved between two samples; None if it is not there."""
    earlier, later = (sample.ip_vs.get(name) for sample in between)
    return None if earlier is None or later is None else later - earlier


def others(facts: Facts) -> dict[str, float]:
    """Return what each program took on the director, in per cent of one CPU over the whole load.

    Threads of the kernel do the director's own work. What began meanwhile has all of its time.
    """
    earlier, later = facts.programs
    had = {each.pid: each.ticks for each in earlier}
    ticks = (facts.around[1].at_s - facts.around[0].at_s) * cpu.USER_HZ
    if ticks <= 0:
        return {}
    took = {each: each.ticks - had.get(each.pid, 0) for each in later if not each.kernel}
    return {f"{each.name} (pid {each.pid})": 100 * count / ticks for each, count in took.items()}


def spread_ms(facts: Facts) -> float | None:
    """Return the time between the first and the last client's start."""
    starts = [c.started_s for c in facts.clients if c.started_s is not None]
    return 1000 * (max(starts) - min(starts)) if starts else None


def signals(
    earlier: Mapping[str, Sample], later: Mapping[str, Sample]
) -> dict[str, dict[str, float]]:
    """Return what each node's counters say of the time between; what is not known is left out."""
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
    for each in counts:
        for name, count in each.items():
            total[name] = total.get(name, 0) + count
    return total
