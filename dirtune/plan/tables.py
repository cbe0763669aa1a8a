"""Define the type of a complete plan, with the tables that control and judge its trials. Pure.

Rates are in connections per second, summed over all clients.
"""

from typing import Annotated, Literal

import msgspec

from dirtune.addresses import joined
from dirtune.lvs.model import ChosenForwarding
from dirtune.plan.configuration import Configuration, Destination, Peer, Service
from dirtune.plan.load import Load
from dirtune.plan.values import Count, Duration, Percent, Positive, Scheduler, Table, seconds


class Settle(Table, frozen=True):
    """The condition for starting a trial: the director must be idle for some seconds in a row."""

    idle: Percent = 95.0
    seconds: Count = 3
    max: Duration = "60s"

    @property
    def max_s(self) -> float:
        """Seconds after which a trial starts even if the director is not idle."""
        return seconds(self.max)


class Compare(Table, frozen=True):
    """The settings for a comparison before (arm A) and after a fix (arm B)."""

    primary: str = "cpu_us_per_connection"
    threshold: Percent = 2.0
    """The smallest effect that matters, in per cent."""
    rates: tuple[Positive, ...] = ()
    """Rates at which the arms are compared, in connections/s; default: the first rate of the load.
    The first rate decides the verdict; results at other rates are only reported."""
    covariate: str | None = None
    """A metric whose differences between the two trials of a pair move the primary metric, and
    whose effect on it is not of interest. The verdict is then that at equal values of this metric.
    """
    peak_trials: Annotated[int, msgspec.Meta(ge=0, le=10)] = 0
    """Number of trials without the fix, and as many with it, in which wrk fills the director's
    CPU, to measure the peak. They decide nothing. Every client needs wrk."""


class Validity(Table, frozen=True):
    """Limits that a valid trial must not exceed; the defaults suit real hardware."""

    unsent: Percent = 0.1
    """Share of the scheduled connections that the clients did not start, per cent."""
    late: Percent = 1.0
    """Percentage by which the clients took longer than planned to start all connections."""
    connections: Percent = 0.5
    """Difference between the number of connections that the clients started and the number that
    the director counted, per cent."""
    start_spread: Duration = "50ms"
    """Time between the start of the first client and the start of the last client."""
    clock: Percent = 5.0
    """Difference between the speeds of the director's clock and the controller's clock within the
    window, per cent. The clock of a virtual director falls behind while its host is too busy."""
    client_busy: Percent = 90.0
    """Busy time of the busiest CPU of any client, per cent."""
    burst: Duration = "50ms"
    """Longest stall of httperf: the time that its longest burst of connections would have taken at
    the planned rate."""
    poll_cpu: Percent = 95.0
    """Smallest share of a CPU that httperf must get, per cent. httperf polls all the time, so it
    needs an entire CPU."""
    refused: Percent = 0.1
    """Share of the connections that a real server refused with a RST, per cent."""
    shares: Percent = 2.0
    """Difference between a real server's share of the connections and the share that the scheduler
    rr or wrr should give it, in percentage points."""
    steal: Percent = 2.0
    """Mean steal time of the director, or of the machine that runs dirtune, per cent."""
    other_process: Percent = 5.0
    """CPU time of any program on the director, per cent of one CPU."""
    steal_peak: Percent = 10.0
    """Steal time of the machine that runs dirtune in the worst second, per cent."""
    pair_steal: Percent | None = None
    """Difference between the two trials of a pair in the steal time of the machine that runs
    dirtune, in percentage points."""
    pair_busy: Percent | None = None
    """Difference between the two trials of a pair in the busy time of the machine that runs
    dirtune, in percentage points. If all nodes run on this machine, another program there slows
    all of them."""
    far: Percent | None = None
    """In a comparison: difference of the busy time and the steal time of the machine that runs
    dirtune from the median over the trials of the same arm, in percentage points. If these trials
    vary more than this, their normal variation is the limit instead."""
    pair_rate: Percent | None = None
    """Difference between the two trials of a pair in the connections/s that the director counted,
    per cent."""
    retries: Annotated[int, msgspec.Meta(ge=0)] = 3
    """Number of trials that a run may repeat."""
    on_lost_node: Literal["stop", "continue"] = "continue"


class Knee(Table, frozen=True):
    """The search for the knee: the highest rate that meets a loss goal."""

    loss: tuple[Annotated[float, msgspec.Meta(ge=0, lt=1)], ...] = (1e-4,)
    """The loss goals; each is the largest share of the connections that may be lost."""
    lowest: Positive | None = None
    """The lowest rate that the search tries, in connections/s; default: a twentieth of the highest
    rate."""
    highest: Positive | None = None
    """The highest rate that the search tries, in connections/s, as far as the clients can reach
    it; default: the highest rate of the load."""
    width: Annotated[float, msgspec.Meta(gt=0, lt=100)] = 2.0
    """The search ends when the highest rate that met the goal and the lowest rate that missed the
    goal differ by at most this, per cent."""
    warmup: Duration = "2s"
    trial: Duration = "10s"
    """Measured window of each trial in the search. Trials that confirm the knee use the window of
    the load instead."""

    @property
    def trial_s(self) -> float:
        """Measured window of each trial in the search, in seconds."""
        return seconds(self.trial)


class Controls(Table, frozen=True):
    """Control trials, which show if the director is really the limit."""

    direct: bool = False
    """Send the load directly to the first real server, past the director."""
    routed: bool = False
    """Send the load to the first real server, with the director as a plain router."""
    null_server: bool = False
    """Send the load of each client to a server on the same client, which answers immediately. This
    control shows the highest rate that the clients can reach."""
    link: bool = False
    """Run NetPIPE between the first client and the first real server."""
    router: str | None = None
    """The director's address on the clients' network, which `routed` needs."""
    link_bits_per_s: Positive | None = None
    """Capacity of the director's link in bits/s, of which the load's share is computed."""


class Matrix(Table, frozen=True):
    """Lists of values; dirtune measures every combination of them."""

    kernel: tuple[str, ...] = ()
    cpus: tuple[Count, ...] = ()
    """Numbers of CPUs of the director."""
    forwarding: tuple[ChosenForwarding, ...] = ()
    scheduler: tuple[Scheduler, ...] = ()
    real_servers: tuple[Count, ...] = ()
    """Numbers of the service's destinations to use, counted from the first destination."""
    page_bytes: tuple[Count, ...] = ()
    keepalive: tuple[Count, ...] = ()
    """Numbers of requests on each connection."""
    clients: tuple[Count, ...] = ()
    """Numbers of clients to use, counted from the first client. If half of the clients reach the
    same rate as all clients, the clients are not the limit."""
    page_path: str | None = None
    """Path of the page for each value of `page_bytes`, such as `/{page_bytes}.html`."""


AXES = (
    *("kernel", "cpus", "forwarding", "scheduler", "real_servers"),
    *("page_bytes", "keepalive", "clients"),
)
"""The keys of the matrix, in the order in which they appear in the name of a combination."""


class Price(Table, frozen=True):
    """The prices of the nodes, from which dirtune computes the price per connection/s."""

    currency: str
    director: Positive
    real_server: Positive | None = None
    """Price of one real server."""
    switch: Positive | None = None
    date: str | None = None
    """The date on which the prices were valid."""
    of: dict[str, str | int] = msgspec.field(default_factory=dict)
    """The combination of the matrix to which the prices apply, such as `{cpus = 4, real_servers =
    4}`."""


class Traffic(Configuration, frozen=True, kw_only=True):
    """The part of a plan that a comparison under live traffic (`dirtune tune --live`) needs."""

    compare: Compare = Compare()


class Plan(Traffic, frozen=True, kw_only=True):
    """A complete plan: the set-up, the load and the rules for its trials."""

    load: Load
    clients: tuple[Peer, ...]
    backup: Peer | None = None
    """The director that takes over if the director fails. An audit of the cluster reads it; trials
    use only the director."""
    settle: Settle = Settle()
    validity: Validity = Validity()
    notes: tuple[str, ...] = ()
    """Facts about the nodes that readers of the results must know; reports print them."""
    knee: Knee | None = None
    controls: Controls | None = None
    matrix: Matrix | None = None
    price: Price | None = None

    @property
    def pair_rates(self) -> tuple[float, ...]:
        """The rates of a comparison, in connections/s; the first rate decides the verdict."""
        return self.compare.rates or self.load.rates[:1]

    @property
    def compared_at(self) -> tuple[float | None, ...]:
        """The rates for `analyse.compare`; a single rate becomes None, which means any rate."""
        return self.pair_rates if len(self.pair_rates) > 1 else (None,)

    @property
    def service(self) -> Service:
        """The service that carries the load."""
        return self.services[self.load.service]

    @property
    def hosts(self) -> tuple[str, ...]:
        """The SSH names of all nodes, the director's first."""
        peers = (peer.host for peer in (*self.real_servers, *self.clients))
        return tuple(dict.fromkeys((self.director.host, *peers)))

    def destination(self, destination: Destination) -> str | None:
        """Return the name of *destination* in results: its real server's label, or its address."""
        return destination.node or self.server_at(destination.address or "")

    def server_at(self, address: str) -> str:
        """Return the label of the real server at *address*, or *address* if there is none."""
        known = {s.address: s.label for s in self.real_servers if s.address is not None}
        return known.get(address, address)

    @property
    def become(self) -> frozenset[str]:
        """The hosts on which dirtune runs commands through `sudo -n`."""
        backup = () if self.backup is None else (self.backup,)
        every = (*self.real_servers, *self.clients, *backup)
        peers = {peer.host for peer in every if peer.become}
        return frozenset(peers | ({self.director.host} if self.director.become else set()))

    @property
    def url(self) -> str:
        """The URL that the clients request."""
        return f"http://{joined(self.service.vip or '', self.service.port or 0)}{self.load.path}"
