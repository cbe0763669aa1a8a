"""Types for a run, stored as `run.json`: the plan, the trials and the results. Pure data.

The JSON document has the schema `dirtune/run/1`. Rates are in connections per second, and times
are in seconds unless the field's name has another unit. CPU time is a percentage of all CPUs of
the node.
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
    """A profiled machine that is not an IPVS director."""


class TrialKind(StrEnum):
    """The purpose of a trial, and what ran on the nodes besides the load."""

    JUDGED = "judged"
    """A trial for a comparison or a sweep; nothing but the load ran."""
    BASELINE = "baseline"
    """A trial before the judged trials; nothing but the load ran."""
    SEARCH = "search"
    """A trial of the search for a knee; nothing but the load ran."""
    CONFIRM = "confirm"
    """A trial that confirms a knee near its rate; nothing but the load ran."""
    PEAK = "peak"
    """A closed loop, which sets its own rate and cannot measure loss; nothing but the load ran."""
    OBSERVED = "observed"
    """Every node was sampled once a second."""
    PROFILED = "profiled"
    """Every node was sampled once a second, and probes ran on the director."""


class Validity(StrEnum):
    """The validity of a trial: only a `valid` trial counts; the other values name the cause."""

    VALID = "valid"
    CLIENT_LIMITED = "client_limited"
    """The clients did not send the load that they were given."""
    NOISY = "noisy"
    """Something else took time from the nodes or from this machine."""
    SETUP_ERROR = "setup_error"
    """The trial failed, or its traffic did not take the path that the plan describes."""


class Verdict(StrEnum):
    """The verdict on a comparison before and after a fix."""

    IMPROVED = "improved"
    REGRESSED = "regressed"
    EQUIVALENT = "equivalent"
    """The entire 95 % interval of the ratio is so close to 1 that the effect does not matter."""
    INCONCLUSIVE = "inconclusive"


class LookResult(StrEnum):
    """The decision at a look (interim test): the run goes on, or stops for this reason."""

    GO_ON = "go on"
    """The pairs did not decide, and more are planned."""
    DECIDED = "decided"
    """The verdict is improved, regressed or equivalent."""
    FUTILE = "futile"
    """p was so high that the remaining pairs would hardly find an effect."""
    UNDECIDED = "undecided"
    """No more pairs are planned, or too many trials did not count."""


class KneeLimit(StrEnum):
    """The reason why a search for a knee ended."""

    SYSTEM = "system"
    """At higher rates, more connections are lost than the loss goal allows."""
    CLIENTS = "clients"
    """The clients could not offer a higher rate."""
    RANGE = "range"
    """The plan asks for no higher rate."""
    TRIALS = "trials"
    """Too many trials were invalid."""


class CpuShare(msgspec.Struct, frozen=True):
    """Mean and standard deviation of the time in one CPU state, in per cent."""

    mean: float
    sd: float


class NodeCpu(msgspec.Struct, frozen=True):
    """One node's CPU time by state, sampled once a second, with the states of vmstat(8)."""

    node: str
    role: Role
    states: dict[str, CpuShare]
    """Time in each state: user, system and idle; also irq, softirq and steal if the node's kernel
    accounts for them."""
    per_cpu: dict[str, dict[str, CpuShare]]
    """Time in each state, by the name of the CPU (`cpu0`); empty for a container."""
    source: str
    """`/proc/stat`, or `cgroup` for a node that is a container."""
    samples: int
    cpus: int | None = None
    """Number of CPUs of the node; None if unknown."""


class Trial(msgspec.Struct, frozen=True):
    """One period of load at one offered rate, either before a fix (arm A) or after it (arm B)."""

    id: str
    """The id, also the name of the folder with the raw output. `p03-1-B` means pair 3, first
    trial, arm B."""
    arm: str
    """`A` is before the fix, `B` after it."""
    kind: TrialKind
    """Only `judged` trials are compared."""
    pair: int | None
    started: str
    """UTC, ISO 8601."""
    offered_rate: float
    """Connections/s in the clients' schedules; for a closed loop, the reply rate."""
    window_s: float
    """Seconds between the director's two samples, by the controller's clock. On a busy machine,
    they are fewer than the plan's window. The plan's window if the trial failed."""
    intended: int
    """Number of connections in the clients' schedules; 0 for a closed loop, which has no
    schedule."""
    attempted: int
    """Number of connections that the clients started. A connection that no client started is not
    lost."""
    replied: int
    failed: dict[str, int]
    reply_rate: float
    """Replies/s in the window if the load generator logs each reply (h2load), else over the entire
    load."""
    latency: Latency | None
    validity: Validity
    reason: str | None
    """The reason why the trial is not valid; None for a valid trial."""
    metrics: dict[str, float]
    """The results by name, such as `cpu_us_per_connection`, `reply_rate` and
    `interrupts_per_connection`."""
    counters: dict[str, int]
    """Increase of the director's counters in the window, such as `connections`, `packets_in` and
    `irq_<label>`."""
    settle_s: float
    """Seconds that dirtune waited for an idle director before the load began."""
    settled: bool
    shares: dict[str, int] = {}
    """Number of connections to each real server; empty if the director does not count them."""
    nodes: tuple[NodeCpu, ...] = ()
    host: dict[str, float] = {}
    """CPU time of the machine that ran dirtune, in per cent: `busy`, `steal`, and `steal_peak` in
    the worst second. In a lab, every node runs on this machine."""
    generator: str = "h2load"
    polls: bool | None = None
    """Whether the load generator uses all of a CPU at any rate; None if an old version wrote the
    run."""
    labels: tuple[str, ...] = ()
    """Facts that readers must know even if the trial is valid: `short`, `not steady: ...`,
    `its warm-up took ...`, `closed loop`."""
    unsent: dict[str, int] = {}
    """Number of connections that the clients could not start, by the resource that they lacked."""
    signals: dict[str, dict[str, float]] = {}
    """Signs of overload on each node in the window: `busy_percent`, `busiest_cpu_percent`,
    `syn_retransmits`, `listen_drops`, `resets_sent`, `tx_dropped`, and `time_wait`, the number of
    sockets in TIME_WAIT at the end of the window. An unknown number is left out."""
    cell: str = ""
    """The combination of the matrix or the control that the trial belongs to; empty if the plan
    has none."""

    @property
    def valid(self) -> bool:
        """Whether the trial is valid and so counts."""
        return self.validity == Validity.VALID


class Forecast(msgspec.Struct, frozen=True):
    """The expected gain if a NIC no longer shares its interrupt line.

    The forecast uses only the measured time in IRQ_NONE calls.
    """

    irqs: tuple[int, ...]
    handlers: tuple[str, ...]
    """The interrupt handlers whose IRQ_NONE calls would disappear."""
    wasted_cpu_percent: float
    """Time in IRQ_NONE calls, as a percentage of one CPU."""
    wasted_us_per_connection: float | None
    ratio: float | None
    """Expected CPU time per connection after the fix divided by the time before; None if the CPU
    time per connection or the number of connections was not measured."""
    interval: tuple[float, float] | None
    basis: str
    """The calculation in words, with its numbers."""


class Look(msgspec.Struct, frozen=True):
    """One look: an interim test of the primary metric, over the valid pairs so far.

    The pairs at the first rate are tested.
    """

    pairs: int
    p: float | None
    """Two-sided p value; None if the pairs could not be judged."""
    result: LookResult


class Looks(msgspec.Struct, frozen=True):
    """The looks (interim tests) of a run, planned before its first trial, and their results."""

    at: tuple[int, ...]
    """Number of valid pairs at each look, rising; the last number is the most that is judged."""
    alpha: float
    """Probability of a false verdict at each look."""
    futile_above: float
    """The run stops at a look whose p is higher than this, because an effect is unlikely."""
    taken: tuple[Look, ...] = ()


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
    """The value after the fix divided by the value before, as a geometric mean over the pairs."""
    interval: tuple[float, float] | None
    """The interval of `ratio` at the confidence level `level`."""
    test: str
    p: float | None
    noise_floor: float | None
    """The largest distance from 1 of the 95 % interval of trials without a change between them, as
    a share; None without such trials."""
    minimum_detectable_effect: float | None
    verdict: Verdict
    reason: str | None
    schema: str = "dirtune/comparison/1"
    invalid: int = 0
    """Number of invalid trials, which were repeated."""
    p_holm: float | None = None
    """p after Holm's correction; None for the primary metric and if only one metric was
    compared."""
    rate: float | None = None
    """Offered connections/s if the run compares the arms at several rates; otherwise None."""
    level: float = 0.95
    """Confidence level of `interval`, as a share."""
    design: str | None = None
    """The looks that were planned before the first trial, and where the run stopped, in words;
    None for a fixed number of pairs and for all metrics but the primary one."""
    own_floor: bool = False
    """Whether `noise_floor` comes from neighbouring trials of the same arm in this run, and not
    from an A/A run."""
    covariate: str | None = None
    """The metric for whose differences within pairs `ratio`, `interval`, `p` and `noise_floor` are
    adjusted; None without an adjustment."""
    unadjusted: float | None = None
    """`ratio` without the adjustment; None if there is none."""
    covariate_means: tuple[float, float] | None = None
    """Means of the covariate before and after the fix; None without a covariate."""


class Cell(msgspec.Struct, frozen=True):
    """One combination of the plan's matrix, or one control such as `routed`."""

    name: str
    """The name, as in `Trial.cell`: `real_servers=2,scheduler=rr`, or the name of the control."""
    settings: dict[str, str | int]
    """The value of each key of the matrix; empty for a control."""
    url: str
    """The URL that the clients requested."""
    refused: str | None = None
    """The reason why the cell was not measured; None if it was measured."""


class Knee(msgspec.Struct, frozen=True):
    """The result of a search for the highest offered rate that meets a loss goal."""

    loss_goal: float
    """The loss goal: the largest share of connections that may be lost."""
    cell: str
    rate: float | None
    """The highest rate that met the goal, in connections/s; None if even the lowest rate missed
    it."""
    above: float | None
    """The lowest rate that missed the goal, in connections/s; None if no rate missed it."""
    limit: KneeLimit
    reason: str
    """The reason why the search ended, in words."""
    confirmed: bool | None = None
    """Whether trials at 0.95 and 1.05 times the rate agree with the result; None if none were
    run."""
    trials: int = 0
    """Number of valid trials of the search."""
    invalid: int = 0
    """Number of invalid trials of the search."""


class LinkPoint(msgspec.Struct, frozen=True):
    """The result of NetPIPE for one message size."""

    message_bytes: int
    bits_per_s: float
    seconds: float
    """Seconds that one message took in one direction."""


class Step(msgspec.Struct, frozen=True):
    """One action of dirtune during a run, with the command that does the same by hand."""

    at: str
    command: str
    note: str


class Run(msgspec.Struct, frozen=True):
    """Everything that dirtune knows about one run: its plan, its trials and its results."""

    id: str
    started: str
    finished: str | None
    command: str
    version: str
    title: str
    plan_document: dict[str, object] = msgspec.field(name="plan")
    """The plan as it was at the start of the run, with the keys of the dirtune version that ran
    it."""
    scenario: dict[str, object] | None
    """The lab's scenario, as it was before the run; None if the run did not use a lab."""
    inventory: dict[str, dict[str, str]]
    primary_metric: str
    audits: dict[str, dict[str, object]]
    """Audits of the director `before` and `after` the fix, as documents of schema
    `dirtune/audit/1`."""
    handlers: dict[str, HandlerWindow]
    """Measurements of the irq probe under load, `before` and `after` the fix."""
    trials: tuple[Trial, ...]
    forecast: Forecast | None
    comparisons: tuple[Comparison, ...]
    """The comparisons, that of the primary metric first."""
    steps: tuple[Step, ...]
    verdict: str | None
    """The verdict as one sentence; None if the run compares no arms or is unfinished."""
    notes: tuple[str, ...] = ()
    """Facts that readers must know, such as that the director is emulated."""
    cells: tuple[Cell, ...] = ()
    """The combinations of the matrix and the controls; empty if the plan has neither."""
    knees: tuple[Knee, ...] = ()
    link: tuple[LinkPoint, ...] = ()
    """The results of NetPIPE between the first client and the first real server; empty if not
    measured."""
    journal: str | None = None
    """The journal on the director that records the kept fix; None if no fix was kept."""
    looks: Looks | None = None
    """The planned looks at the pairs; None if the number of pairs is fixed."""
    schema: str = "dirtune/run/1"

    @property
    def plan(self) -> "Recorded":
        """The tables of the plan on which results depend.

        Raises `ParseError` if a value has a wrong type.
        """
        # An audit imports this module for its types, but never reads a plan, and importing the
        # reader of plans takes long.
        from dirtune.plan.recorded import recorded  # noqa: PLC0415

        return recorded(self.plan_document)
