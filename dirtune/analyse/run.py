"""A run as it lies on disk (`run.json`): what was asked, done and seen. Pure data.

Published as `dirtune/run/1`. Rates are connections per second, times are seconds unless the
name says otherwise, CPU shares are per cent of the CPUs of the node.
"""

from enum import StrEnum

import msgspec

from dirtune.analyse.handlers import HandlerWindow
from dirtune.plan.latency import Latency
from dirtune.plan.recorded import Recorded, recorded


class Role(StrEnum):
    """The part that a node plays in a trial."""

    DIRECTOR = "director"
    REAL_SERVER = "real server"
    CLIENT = "client"
    HOST = "host"
    """A profiled machine that forwards nothing by IPVS."""


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
    """A closed loop at its own rate, which says nothing about loss; nothing else ran."""
    OBSERVED = "observed"
    """Every node was sampled each second."""
    PROFILED = "profiled"
    """Every node was sampled each second, and the probes ran on the director."""


class Validity(StrEnum):
    """Whether a trial counts, and if not, what is to blame."""

    VALID = "valid"
    CLIENT_LIMITED = "client_limited"
    """The clients did not send the load that they were given."""
    NOISY = "noisy"
    """Something else took time from the nodes or from this machine."""
    SETUP_ERROR = "setup_error"
    """The trial broke, or its traffic did not take the way that the plan describes."""


class Verdict(StrEnum):
    """The outcome of a comparison."""

    IMPROVED = "improved"
    REGRESSED = "regressed"
    EQUIVALENT = "equivalent"
    """The whole interval of the ratio lies within the threshold."""
    INCONCLUSIVE = "inconclusive"


class KneeLimit(StrEnum):
    """What ended the search for a knee."""

    SYSTEM = "system"
    """More than the goal is lost above the rate."""
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
    """Where one node's CPU time went, sampled at 1 Hz as vmstat(8) does."""

    node: str
    role: Role
    states: dict[str, CpuShare]
    """user, system, idle; and irq, softirq, steal where the node's kernel accounts them."""
    per_cpu: dict[str, dict[str, CpuShare]]
    """The same for each CPU by its name (`cpu0`); empty for a cgroup."""
    source: str
    """`/proc/stat`, or `cgroup` for a node that is a container."""
    samples: int
    cpus: int | None = None
    """CPUs that the shares are shares of."""


class Trial(msgspec.Struct, frozen=True):
    """One run of the load at one offered rate under one arm."""

    id: str
    """`p03-1-B`: pair, place in the pair, arm; also the name of its raw output's folder."""
    arm: str
    """A is before, B is after the fix."""
    kind: TrialKind
    """Only `judged` trials are compared."""
    pair: int | None
    started: str
    """UTC, ISO 8601."""
    offered_rate: float
    """Asked of the clients; of a closed loop, which offers what is taken, what it came to."""
    window_s: float
    intended: int
    """Connections that the schedule asked for; 0 for a closed loop, which has none."""
    attempted: int
    """Connections that the clients began; what they did not begin is no loss."""
    replied: int
    failed: dict[str, int]
    reply_rate: float
    """Of the window where the generator logs replies (h2load), else of the whole load."""
    latency: Latency | None
    validity: Validity
    reason: str | None
    """Why the trial does not count; None for a valid one."""
    metrics: dict[str, float]
    """By name: `cpu_us_per_connection`, `reply_rate`, `interrupts_per_connection`, ..."""
    counters: dict[str, int]
    """Deltas on the director: `connections`, `packets_in`, `irq_<label>`, ..."""
    settle_s: float
    """How long the director took to be idle before the load began."""
    settled: bool
    shares: dict[str, int] = {}
    """Connections per destination, where the director's counters say."""
    nodes: tuple[NodeCpu, ...] = ()
    host: dict[str, float] = {}
    """Per cent of the machine that ran dirtune: busy, steal; in the lab it runs everything.
    `steal_peak` is the worst second's."""
    generator: str = "h2load"
    polls: bool | None = None
    """Whether the generator takes all of a CPU at any rate; None in a run of an old version."""
    labels: tuple[str, ...] = ()
    """What a reader must know of a trial that may yet be valid: `short`, `not steady: ...`,
    `its warm-up took ...`, `closed loop`."""
    unsent: dict[str, int] = {}
    """What the clients could not begin, by what they lacked."""
    signals: dict[str, dict[str, float]] = {}
    """Of each node within the window: `busy_percent`, `busiest_cpu_percent`,
    `syn_retransmits`, `listen_drops`, `resets_sent`, `tx_dropped`, and `time_wait`, the sockets
    in TIME_WAIT at its end; what is not known is left out."""
    cell: str = ""
    """The cell of the matrix or the control it belongs to; empty for the plan as it stands."""

    @property
    def valid(self) -> bool:
        """Whether the trial counts."""
        return self.validity == Validity.VALID


class Forecast(msgspec.Struct, frozen=True):
    """What separating a shared line should bring, from measured IRQ_NONE time alone."""

    irqs: tuple[int, ...]
    handlers: tuple[str, ...]
    """The handlers whose IRQ_NONE calls would go away."""
    wasted_cpu_percent: float
    """IRQ_NONE time as a share of one CPU in the probed window."""
    wasted_us_per_connection: float | None
    ratio: float | None
    """Expected CPU per connection after over before; None without a measured CPU share."""
    interval: tuple[float, float] | None
    basis: str
    """The sum in words, with its numbers."""


class Comparison(msgspec.Struct, frozen=True):
    """Before against after for one metric (`dirtune/comparison/1`)."""

    metric: str
    unit: str
    better: str
    """`higher` or `lower`."""
    before: tuple[float, ...]
    after: tuple[float, ...]
    pairs: int
    ratio: float | None
    """After over before, the geometric mean over pairs."""
    interval: tuple[float, float] | None
    """95 % interval of the ratio."""
    test: str
    p: float | None
    noise_floor: float | None
    """Half width of the A/A run's 95 % interval as a share; None where no A/A was run."""
    minimum_detectable_effect: float | None
    verdict: Verdict
    reason: str | None
    schema: str = "dirtune/comparison/1"
    invalid: int = 0
    """Trials that did not count; they were repeated, never dropped in silence."""
    p_holm: float | None = None
    """p after Holm's correction, for a secondary metric among several; else None."""
    rate: float | None = None
    """Connections/s offered, where arms were compared at several rates; else None."""


class Cell(msgspec.Struct, frozen=True):
    """One combination of a matrix, or one control."""

    name: str
    """As in `Trial.cell`: `real_servers=2,scheduler=rr`, or the control's name."""
    settings: dict[str, str | int]
    """Value of each axis; empty for a control."""
    url: str
    """Where the load went."""
    refused: str | None = None
    """Why it was not carried out; None if it was."""


class Knee(msgspec.Struct, frozen=True):
    """The highest offered rate that met a loss goal, and how well that is known."""

    loss_goal: float
    """Largest share of lost connections that meets the goal."""
    cell: str
    rate: float | None
    """Connections/s; None if not even the lowest rate met the goal."""
    above: float | None
    """Lowest rate that missed the goal; None if none did."""
    limit: KneeLimit
    reason: str
    """What stands behind it, in words."""
    confirmed: bool | None = None
    """Whether steady trials at 0.95 and 1.05 times the rate agree; None if not tried."""
    trials: int = 0
    """Trials of the search that counted."""
    invalid: int = 0
    """Trials that did not."""


class LinkPoint(msgspec.Struct, frozen=True):
    """One message size of a test of the link."""

    message_bytes: int
    bits_per_s: float
    seconds: float
    """For one message, one way."""


class Step(msgspec.Struct, frozen=True):
    """One thing dirtune did, in order, with the command that does the same by hand."""

    at: str
    command: str
    note: str


class Run(msgspec.Struct, frozen=True):
    """Everything known of one campaign."""

    id: str
    started: str
    finished: str | None
    command: str
    version: str
    title: str
    plan_document: dict[str, object] = msgspec.field(name="plan")
    """The plan as it was when the run began, with the keys of whatever version wrote it."""
    scenario: dict[str, object] | None
    """The lab's scenario, fixed before the run; None outside the lab."""
    inventory: dict[str, dict[str, str]]
    primary_metric: str
    audits: dict[str, dict[str, object]]
    """`before` and `after`: documents of schema `dirtune/audit/1`."""
    handlers: dict[str, HandlerWindow]
    """`before` and `after`: what the irq probe measured under load."""
    trials: tuple[Trial, ...]
    forecast: Forecast | None
    comparisons: tuple[Comparison, ...]
    """The primary metric's first."""
    steps: tuple[Step, ...]
    verdict: str | None
    """One sentence."""
    notes: tuple[str, ...] = ()
    """What a reader must know, such as that the director is emulated."""
    cells: tuple[Cell, ...] = ()
    """Of the matrix, and the controls; empty where the plan names neither."""
    knees: tuple[Knee, ...] = ()
    link: tuple[LinkPoint, ...] = ()
    """Between the first client and the first real server; empty if it was not measured."""
    journal: str | None = None
    """On the director, of the fix it was left with; None if it was left without."""
    schema: str = "dirtune/run/1"

    @property
    def plan(self) -> Recorded:
        """The tables of the plan that results depend on; `ParseError` for a wrong type."""
        return recorded(self.plan_document)
