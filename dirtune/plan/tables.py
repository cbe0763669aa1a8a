"""A whole plan file as a type, and the tables by which its trials are run and judged. Pure.

Rates are connections per second over all clients.
"""

from typing import Annotated, Literal

import msgspec

from dirtune.addresses import joined
from dirtune.plan.configuration import Configuration, Destination, Peer, Service
from dirtune.plan.load import Load
from dirtune.plan.values import Count, Duration, Percent, Positive, Scheduler, Table, seconds


class Settle(Table, frozen=True):
    """The condition for a trial to begin: the director was idle for some seconds in a row."""

    idle: Percent = 95.0
    seconds: Count = 3
    max: Duration = "60s"

    @property
    def max_s(self) -> float:
        """Seconds after which the trial begins anyway, marked as not settled."""
        return seconds(self.max)


class Compare(Table, frozen=True):
    """The comparison of arms."""

    primary: str = "cpu_us_per_connection"
    threshold: Percent = 2.0
    """Smallest effect that matters, in per cent."""
    rates: tuple[Positive, ...] = ()
    """Connections/s at which arms are compared; default: the load's first rate. The first
    decides, the others are reported beside it."""


class Validity(Table, frozen=True):
    """Limits beyond which a trial does not count; the defaults are for hardware."""

    unsent: Percent = 0.1
    """Per cent of the intended connections that were not begun."""
    late: Percent = 1.0
    """Per cent by which the clients' rate may fall short."""
    connections: Percent = 0.5
    """Per cent between the clients' connections and the director's count."""
    start_spread: Duration = "50ms"
    """Time between the first and the last client's start."""
    client_busy: Percent = 90.0
    """Load of the busiest CPU of a client, per cent."""
    burst: Duration = "50ms"
    """httperf: longest stall, as the connections it then made up for would take at the rate."""
    poll_cpu: Percent = 95.0
    """httperf: least share of a CPU, per cent; it always polls and needs a whole CPU."""
    refused: Percent = 0.1
    """Per cent of the connections that one real server refused with a RST."""
    shares: Percent = 2.0
    """Points between a real server's share of the connections and what rr or wrr promise."""
    steal: Percent = 2.0
    """Mean steal of the director or of this machine, per cent."""
    other_process: Percent = 5.0
    """CPU time of a program on the director, per cent of one CPU."""
    steal_peak: Percent = 10.0
    """Steal of this machine in any second, per cent."""
    pair_steal: Percent | None = None
    """Largest difference of this machine's steal within a pair, in points."""
    pair_busy: Percent | None = None
    """Largest difference of this machine's load within a pair, in points. If the nodes share this
    machine, another program slows them all."""
    far: Percent | None = None
    """Largest distance of this machine's load and steal from the median of the same arm's trials
    in the campaign, in points, where their own spread is not larger; of comparisons."""
    pair_rate: Percent | None = None
    """Largest difference of the connections/s that the director saw within a pair, per cent."""
    retries: Annotated[int, msgspec.Meta(ge=0)] = 3
    """Trials that may be repeated in a campaign."""
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
    """Width between the two results of the search, per cent."""
    warmup: Duration = "2s"
    trial: Duration = "10s"
    """Window of the search's trials; the rate found is confirmed with the load's own."""

    @property
    def trial_s(self) -> float:
        """Seconds of that window."""
        return seconds(self.trial)


class Controls(Table, frozen=True):
    """Controls beside the main measurement."""

    direct: bool = False
    """The load goes to the first real server, past the director."""
    routed: bool = False
    """It goes to the first real server through the director as a plain router."""
    null_server: bool = False
    """It goes to a server that answers at once, on each client itself: the clients' ceiling."""
    link: bool = False
    """NetPIPE between the first client and the first real server."""
    router: str | None = None
    """The director's address on the clients' network, which `routed` needs."""
    link_bits_per_s: Positive | None = None
    """Capacity of the director's link, for what share of it the load takes."""


class Matrix(Table, frozen=True):
    """Values to try in every combination."""

    kernel: tuple[str, ...] = ()
    cpus: tuple[Count, ...] = ()
    """CPUs of the director."""
    forwarding: tuple[Literal["nat", "dr", "tun"], ...] = ()
    scheduler: tuple[Scheduler, ...] = ()
    real_servers: tuple[Count, ...] = ()
    """Number of the service's destinations, from the first."""
    page_bytes: tuple[Count, ...] = ()
    keepalive: tuple[Count, ...] = ()
    """Requests for each connection."""
    clients: tuple[Count, ...] = ()
    """Number of clients, from the first. If half of them make as much as all, the clients are not
    the limit."""
    page_path: str | None = None
    """Path of a page of each size, such as `/{page_bytes}.html`; `page_bytes` needs it."""


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
    """One of them."""
    switch: Positive | None = None
    date: str | None = None
    """Date of the prices."""
    of: dict[str, str | int] = msgspec.field(default_factory=dict)
    """The cell that the prices belong to, such as `{cpus = 4, real_servers = 4}`."""


class Traffic(Configuration, frozen=True, kw_only=True):
    """The part of a plan that a comparison of live traffic needs."""

    compare: Compare = Compare()


class Plan(Traffic, frozen=True, kw_only=True):
    """A whole plan."""

    load: Load
    clients: tuple[Peer, ...]
    settle: Settle = Settle()
    validity: Validity = Validity()
    notes: tuple[str, ...] = ()
    """Facts about the nodes that a reader of the results must know."""
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
        """The rates as a comparison takes them: None for a single rate."""
        return self.pair_rates if len(self.pair_rates) > 1 else (None,)

    @property
    def service(self) -> Service:
        """The service the load goes to."""
        return self.services[self.load.service]

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every node by its ssh name, the director first."""
        peers = (peer.host for peer in (*self.real_servers, *self.clients))
        return tuple(dict.fromkeys((self.director.host, *peers)))

    def destination(self, destination: Destination) -> str | None:
        """Return a destination's name in results: its real server's label, else its address."""
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
