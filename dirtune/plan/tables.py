"""The type of a complete plan file, and the tables that control and judge its trials. Pure.

Rates are connections per second, summed over all clients.
"""

from typing import Annotated, Literal

import msgspec

from dirtune.addresses import joined
from dirtune.plan.configuration import Configuration, Destination, Peer, Service
from dirtune.plan.load import Load
from dirtune.plan.values import Count, Duration, Percent, Positive, Scheduler, Table, seconds


class Settle(Table, frozen=True):
    """The condition for starting a trial: the director has been idle for some seconds in a row."""

    idle: Percent = 95.0
    seconds: Count = 3
    max: Duration = "60s"

    @property
    def max_s(self) -> float:
        """Seconds after which the trial starts in any case, marked as not settled."""
        return seconds(self.max)


class Compare(Table, frozen=True):
    """The settings for comparing arms."""

    primary: str = "cpu_us_per_connection"
    threshold: Percent = 2.0
    """Smallest effect that matters, in per cent."""
    rates: tuple[Positive, ...] = ()
    """Rates at which arms are compared, in connections/s; default: the load's first rate. The
    first rate decides the verdict; the results at the other rates are only reported."""


class Validity(Table, frozen=True):
    """Limits that a valid trial must not exceed; the defaults suit real hardware."""

    unsent: Percent = 0.1
    """Share of the intended connections that the clients did not start, per cent."""
    late: Percent = 1.0
    """Shortfall of the clients' rate below the planned rate, per cent."""
    connections: Percent = 0.5
    """Difference between the clients' and the director's count of connections, per cent."""
    start_spread: Duration = "50ms"
    """Time between the first and the last client's start."""
    clock: Percent = 5.0
    """Difference between the speeds of the director's clock and the controller's clock within the
    window, per cent. The clock of a virtual director falls behind while its host is too busy."""
    client_busy: Percent = 90.0
    """Load of the busiest CPU of a client, per cent."""
    burst: Duration = "50ms"
    """httperf: longest stall, computed as the time that its longest burst of connections would
    have taken at the planned rate."""
    poll_cpu: Percent = 95.0
    """httperf: smallest share of a CPU that the process got, per cent. httperf always polls, so it
    needs all of a CPU."""
    refused: Percent = 0.1
    """Share of the connections that one real server refused with a RST, per cent."""
    shares: Percent = 2.0
    """Difference between a real server's share of the connections and its share by the rules of rr
    or wrr, in percentage points."""
    steal: Percent = 2.0
    """Mean steal time of the director or of this machine, per cent."""
    other_process: Percent = 5.0
    """CPU time of any other program on the director, per cent of one CPU."""
    steal_peak: Percent = 10.0
    """Steal time of this machine in the worst second, per cent."""
    pair_steal: Percent | None = None
    """Difference in this machine's steal time within a pair, in percentage points."""
    pair_busy: Percent | None = None
    """Difference in this machine's load within a pair, in percentage points. If the nodes share
    this machine, another program on it slows all of them."""
    far: Percent | None = None
    """For comparisons: distance of this machine's load and steal time from the median over the
    trials of the same arm, in percentage points. If those trials spread further than this, their
    spread is the limit instead."""
    pair_rate: Percent | None = None
    """Difference in the connections/s that the director saw within a pair, per cent."""
    retries: Annotated[int, msgspec.Meta(ge=0)] = 3
    """Number of trials that a campaign may repeat."""
    on_lost_node: Literal["stop", "continue"] = "continue"


class Knee(Table, frozen=True):
    """The search for the highest rate that meets a loss goal."""

    loss: tuple[Annotated[float, msgspec.Meta(ge=0, lt=1)], ...] = (1e-4,)
    """Goals: largest share of the connections that may be lost."""
    lowest: Positive | None = None
    """Connections/s; default: a twentieth of the highest."""
    highest: Positive | None = None
    """Connections/s, within what the clients can make; default: the load's highest rate."""
    width: Annotated[float, msgspec.Meta(gt=0, lt=100)] = 2.0
    """The search ends when the gap between the highest rate that met the goal and the lowest rate
    that missed the goal is this small, per cent."""
    warmup: Duration = "2s"
    trial: Duration = "10s"
    """Window of each trial in the search; trials that confirm the knee use the load's window."""

    @property
    def trial_s(self) -> float:
        """Window of each trial in the search, in seconds."""
        return seconds(self.trial)


class Controls(Table, frozen=True):
    """Control trials in addition to the main measurement."""

    direct: bool = False
    """Send the load to the first real server, past the director."""
    routed: bool = False
    """Send the load to the first real server, with the director as a plain router."""
    null_server: bool = False
    """Send the load of each client to a server on the same client, which answers immediately. This
    shows the highest rate that the clients can make."""
    link: bool = False
    """Run NetPIPE between the first client and the first real server."""
    router: str | None = None
    """The director's address on the clients' network, which `routed` needs."""
    link_bits_per_s: Positive | None = None
    """Capacity of the director's link, to compute the load's share of the capacity."""


class Matrix(Table, frozen=True):
    """Values to try in every combination."""

    kernel: tuple[str, ...] = ()
    cpus: tuple[Count, ...] = ()
    """CPUs of the director."""
    forwarding: tuple[Literal["nat", "dr", "tun"], ...] = ()
    scheduler: tuple[Scheduler, ...] = ()
    real_servers: tuple[Count, ...] = ()
    """Number of the service's destinations to use, counted from the first."""
    page_bytes: tuple[Count, ...] = ()
    keepalive: tuple[Count, ...] = ()
    """Requests for each connection."""
    clients: tuple[Count, ...] = ()
    """Number of clients to use, counted from the first. If half of the clients achieve as much as
    all, the clients are not the limit."""
    page_path: str | None = None
    """Path of the pages of each size, such as `/{page_bytes}.html`; required by `page_bytes`."""


AXES = (
    *("kernel", "cpus", "forwarding", "scheduler", "real_servers"),
    *("page_bytes", "keepalive", "clients"),
)
"""Axes of the matrix, in the order of a cell's name."""


class Price(Table, frozen=True):
    """The prices of the set-up, for the price per connection/s."""

    currency: str
    director: Positive
    real_server: Positive | None = None
    """Price of one real server."""
    switch: Positive | None = None
    date: str | None = None
    """Date of the prices."""
    of: dict[str, str | int] = msgspec.field(default_factory=dict)
    """The cell that the prices apply to, such as `{cpus = 4, real_servers = 4}`."""


class Traffic(Configuration, frozen=True, kw_only=True):
    """The part of a plan that a comparison of live traffic needs."""

    compare: Compare = Compare()


class Plan(Traffic, frozen=True, kw_only=True):
    """A complete plan."""

    load: Load
    clients: tuple[Peer, ...]
    settle: Settle = Settle()
    validity: Validity = Validity()
    notes: tuple[str, ...] = ()
    """Facts about the nodes that readers of the results must know."""
    knee: Knee | None = None
    controls: Controls | None = None
    matrix: Matrix | None = None
    price: Price | None = None

    @property
    def pair_rates(self) -> tuple[float, ...]:
        """Connections/s at which arms are compared; the first decides."""
        return self.compare.rates or self.load.rates[:1]

    @property
    def compared_at(self) -> tuple[float | None, ...]:
        """The rates for the functions that compare; a single rate is passed as None."""
        return self.pair_rates if len(self.pair_rates) > 1 else (None,)

    @property
    def service(self) -> Service:
        """The service that the load goes to."""
        return self.services[self.load.service]

    @property
    def hosts(self) -> tuple[str, ...]:
        """The SSH names of all nodes, the director first."""
        peers = (peer.host for peer in (*self.real_servers, *self.clients))
        return tuple(dict.fromkeys((self.director.host, *peers)))

    def destination(self, destination: Destination) -> str | None:
        """Return a destination's name in results: the real server's label, or its address."""
        return destination.node or self.server_at(destination.address or "")

    def server_at(self, address: str) -> str:
        """Return the label of the real server at *address*, or the address itself."""
        known = {s.address: s.label for s in self.real_servers if s.address is not None}
        return known.get(address, address)

    @property
    def become(self) -> frozenset[str]:
        """The hosts on which commands go through `sudo -n`."""
        peers = {peer.host for peer in (*self.real_servers, *self.clients) if peer.become}
        return frozenset(peers | ({self.director.host} if self.director.become else set()))

    @property
    def url(self) -> str:
        """The URL of the load."""
        return f"http://{joined(self.service.vip or '', self.service.port or 0)}{self.load.path}"
