"""A run as `run.json` holds it: its plan, its trials and their results. Pure data.

Published as `dirtune/run/1`. Rates are connections per second, times are seconds unless the
name says otherwise, CPU shares are per cent of the CPUs of the node.
"""

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from dirtune.analyse.handlers import HandlerWindow
from dirtune.latency import Latency

if TYPE_CHECKING:
    from dirtune.plan.recorded import Recorded


class Role(StrEnum):
    """The part that a node plays in a trial."""

    DIRECTOR = "director"
    REAL_SERVER = "real server"
    CLIENT = "client"
    HOST = "host"
    """A profiled machine that does not forward with IPVS."""


class TrialKind(StrEnum):
    """The purpose of a trial, and what ran on the nodes beside its load."""

    JUDGED = "judged"
    """Compared, or a point of a sweep; nothing else ran."""
    BASELINE = "baseline"
    """Run before the judged trials; nothing else ran."""
    SEARCH = "search"
    """A step of the search for a knee; nothing else ran."""
    CONFIRM = "confirm"
    """A steady trial near a knee that the search found; nothing else ran."""
    PEAK = "peak"
    """A closed loop at its own rate, which cannot measure loss; nothing else ran."""
    OBSERVED = "observed"
    """Every node was sampled each second."""
    PROFILED = "profiled"
    """Every node was sampled each second, and the probes ran on the director."""


class Validity(StrEnum):
    """The judgement on whether a trial counts, and what is to blame if it does not."""

    VALID = "valid"
    CLIENT_LIMITED = "client_limited"
    """The clients did not send the load that they were given."""
    NOISY = "noisy"
    """Something else took time from the nodes or from this machine."""
    SETUP_ERROR = "setup_error"
    """The trial failed, or its traffic did not take the path that the plan describes."""


class Verdict(StrEnum):
    """The outcome of a comparison."""

    IMPROVED = "improved"
    REGRESSED = "regressed"
    EQUIVALENT = "equivalent"
    """The complete interval of the ratio is within the threshold."""
    INCONCLUSIVE = "inconclusive"


class KneeLimit(StrEnum):
    """The reason why a search for a knee ended."""

    SYSTEM = "system"
    """Higher rates lose more than the goal allows."""
    CLIENTS = "clients"
    """The clients could not offer more."""
    RANGE = "range"
    """The plan asks for no higher rate."""
    TRIALS = "trials"
    """Trials did not count."""


class CpuShare(msgspec.Struct, frozen=True):
    """Mean and standard deviation of one CPU state over a window, in per cent."""

    mean: float
    sd: float


class NodeCpu(msgspec.Struct, frozen=True):
    """One node's CPU time by state, sampled at 1 Hz as vmstat(8) does."""

    node: str
    role: Role
    states: dict[str, CpuShare]
    """user, system, idle; and irq, softirq, steal if the node's kernel accounts for them."""
    per_cpu: dict[str, dict[str, CpuShare]]
    """The states of each CPU by its name (`cpu0`); empty for a cgroup."""
    source: str
    """`/proc/stat`, or `cgroup` for a node that is a container."""
    samples: int
    cpus: int | None = None
    """Number of CPUs that the shares refer to; None if unknown."""


class Trial(msgspec.Struct, frozen=True):
    """One period of load at one offered rate in one arm."""

    id: str
    """`p03-1-B` is pair 3, first trial, arm B; also the name of the folder of its raw output."""
    arm: str
    """`A` is before the fix, `B` after it."""
    kind: TrialKind
    """Only `judged` trials are compared."""
    pair: int | None
    started: str
    """UTC, ISO 8601."""
    offered_rate: float
    """Connections/s that the clients offer by their schedule; a closed loop has its reply rate."""
    window_s: float
    intended: int
    """Connections of the schedule; 0 for a closed loop, which has no schedule."""
    attempted: int
    """Connections that the clients started; a connection that was not started is not a loss."""
    replied: int
    failed: dict[str, int]
    reply_rate: float
    """Replies/s in the window if the generator logs replies (h2load), or in the entire load."""
    latency: Latency | None
    validity: Validity
    reason: str | None
    """Why the trial does not count; None for a valid one."""
    metrics: dict[str, float]
    """By name: `cpu_us_per_connection`, `reply_rate`, `interrupts_per_connection`, ..."""
    counters: dict[str, int]
    """Deltas on the director: `connections`, `packets_in`, `irq_<label>`, ..."""
    settle_s: float
    """Seconds until the director was idle, before the load began."""
    settled: bool
    shares: dict[str, int] = {}
    """Connections of each destination; empty if the director does not count them."""
    nodes: tuple[NodeCpu, ...] = ()
    host: dict[str, float] = {}
    """CPU time of the machine that ran dirtune, per cent: `busy`, `steal`, and `steal_peak` of the
    worst second. In the lab this machine runs every node."""
    generator: str = "h2load"
    polls: bool | None = None
    """Whether the generator uses all of a CPU at any rate; None in a run of an old version."""
    labels: tuple[str, ...] = ()
    """Facts that readers must know even if the trial is valid: `short`, `not steady: ...`,
    `its warm-up took ...`, `closed loop`."""
    unsent: dict[str, int] = {}
    """Connections that the clients could not start, by the resource that they lacked."""
    signals: dict[str, dict[str, float]] = {}
    """Signals of each node within the window: `busy_percent`, `busiest_cpu_percent`,
    `syn_retransmits`, `listen_drops`, `resets_sent`, `tx_dropped`, and `time_wait`, the sockets
    in TIME_WAIT at its end; an unknown signal is left out."""
    cell: str = ""
    """The trial's cell of the matrix, or its control; empty if the plan has no matrix."""

    @property
    def valid(self) -> bool:
        """Whether the trial counts."""
        return self.validity == Validity.VALID


class Forecast(msgspec.Struct, frozen=True):
    """The expected gain of separating a shared line, from measured IRQ_NONE time alone."""

    irqs: tuple[int, ...]
    handlers: tuple[str, ...]
    """The handlers whose IRQ_NONE calls would go away."""
    wasted_cpu_percent: float
    """IRQ_NONE time as a share of one CPU in the probed window."""
    wasted_us_per_connection: float | None
    ratio: float | None
    """Expected CPU time per connection after the fix divided by the time before; None without a
    measured CPU share."""
    interval: tuple[float, float] | None
    basis: str
    """The calculation in words, with its numbers."""


class Comparison(msgspec.Struct, frozen=True):
    """The comparison of one metric before and after a fix (`dirtune/comparison/1`)."""

    metric: str
    unit: str
    better: str
    """`higher` or `lower`."""
    before: tuple[float, ...]
    after: tuple[float, ...]
    pairs: int
    ratio: float | None
    """The value after the fix divided by the value before; the geometric mean over pairs."""
    interval: tuple[float, float] | None
    """95 % interval of the ratio."""
    test: str
    p: float | None
    noise_floor: float | None
    """Half the width of the A/A run's 95 % interval as a share; None without an A/A run."""
    minimum_detectable_effect: float | None
    verdict: Verdict
    reason: str | None
    schema: str = "dirtune/comparison/1"
    invalid: int = 0
    """Trials that did not count; they were repeated, and never left out silently."""
    p_holm: float | None = None
    """p after Holm's correction; None for the primary metric and for a metric alone."""
    rate: float | None = None
    """Offered connections/s if arms were compared at several rates; otherwise None."""


class Cell(msgspec.Struct, frozen=True):
    """One combination of a matrix, or one control."""

    name: str
    """As in `Trial.cell`: `real_servers=2,scheduler=rr`, or the control's name."""
    settings: dict[str, str | int]
    """Value of each axis; empty for a control."""
    url: str
    """URL that the load asked for."""
    refused: str | None = None
    """Why the cell was not measured; None if it was."""


class Knee(msgspec.Struct, frozen=True):
    """The highest offered rate that met a loss goal, and how well it is known."""

    loss_goal: float
    """Largest share of lost connections that meets the goal."""
    cell: str
    rate: float | None
    """Connections/s; None if not even the lowest rate met the goal."""
    above: float | None
    """Lowest rate that missed the goal; None if none did."""
    limit: KneeLimit
    reason: str
    """The limit in words."""
    confirmed: bool | None = None
    """Whether steady trials at 0.95 and 1.05 times the rate agree; None if not tried."""
    trials: int = 0
    """Trials of the search that counted."""
    invalid: int = 0
    """Trials of the search that did not count."""


class LinkPoint(msgspec.Struct, frozen=True):
    """One message size of a test of the link."""

    message_bytes: int
    bits_per_s: float
    seconds: float
    """Time of one message, one way."""


class Step(msgspec.Struct, frozen=True):
    """One action of dirtune, with the command that does the same by hand."""

    at: str
    command: str
    note: str


class Run(msgspec.Struct, frozen=True):
    """Everything that is known about one campaign."""

    id: str
    started: str
    finished: str | None
    command: str
    version: str
    title: str
    plan_document: dict[str, object] = msgspec.field(name="plan")
    """The plan at the start of the run, with the keys of the version that wrote it."""
    scenario: dict[str, object] | None
    """The lab's scenario, fixed before the run; None outside the lab."""
    inventory: dict[str, dict[str, str]]
    primary_metric: str
    audits: dict[str, dict[str, object]]
    """`before` and `after`: documents of schema `dirtune/audit/1`."""
    handlers: dict[str, HandlerWindow]
    """`before` and `after`: measurements of the irq probe under load."""
    trials: tuple[Trial, ...]
    forecast: Forecast | None
    comparisons: tuple[Comparison, ...]
    """The primary metric's first."""
    steps: tuple[Step, ...]
    verdict: str | None
    """The verdict as one sentence; None if the run compares nothing or is unfinished."""
    notes: tuple[str, ...] = ()
    """Facts that readers must know, such as that the director is emulated."""
    cells: tuple[Cell, ...] = ()
    """The cells of the matrix and the controls; empty if the plan has neither."""
    knees: tuple[Knee, ...] = ()
    link: tuple[LinkPoint, ...] = ()
    """The link between the first client and the first real server; empty if not measured."""
    journal: str | None = None
    """The director's journal of the fix that was kept; None if no fix was kept."""
    schema: str = "dirtune/run/1"

    @property
    def plan(self) -> "Recorded":
        """The tables of the plan that results depend on. Raises `ParseError` for a wrong type."""
        # An audit needs types of this module, and no plan: reading one takes as long to import.
        from dirtune.plan.recorded import recorded  # noqa: PLC0415

        return recorded(self.plan_document)
