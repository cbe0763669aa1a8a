"""The tables of a bench plan as types: what a plan may say, and what it says where it does not.

Rates are connections per second over all clients; durations are written `500ms`, `90s`, `3m`, or
as a number of seconds.
"""

import re
from typing import Annotated, Literal

import msgspec

from dirtune import ssh_names
from dirtune.errors import PlanError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Scheduler = Annotated[str, msgspec.Meta(pattern="^[a-z0-9_-]{1,15}$")]
Positive = Annotated[float, msgspec.Meta(gt=0, le=1e15)]
"""And finite, which `inf` of TOML is not."""
Count = Annotated[int, msgspec.Meta(ge=1)]
Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]
Duration = str | int | float


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the plan: a key that is not known is an error."""


def _require_name(host: str) -> None:
    if refusal := ssh_names.refusal(host):
        raise ValueError(f"{ssh_names.shown(host)}: {refusal}")


class Director(Table, frozen=True):
    """The node under test."""

    host: str = "local"
    become: bool = False
    """Run commands there through `sudo -n`."""
    dirtune: str = "dirtune"
    """How dirtune is called there."""
    address: str | None = None
    """On the network of the real servers, that of VRRP where there are two directors: through it
    real servers behind NAT answer."""
    max_overhead: Positive = 1.0
    """What the probes together may cost there, in per cent of one CPU."""
    host_cpus: tuple[int, ...] = ()
    """CPUs of this machine that a guest director is pinned to: what is stolen from them is
    taken off its CPU time. Empty for a director that is no guest of this machine."""

    def __post_init__(self) -> None:
        _require_name(self.host)


class Destination(Table, frozen=True):
    """A real server of a service."""

    node: str | None = None
    address: str | None = None
    port: Port | None = None
    """Default: the service's."""
    forwarding: Literal["nat", "dr", "tun"] = "dr"
    tunnel: Literal["ipip", "gue", "gre"] | None = None
    tunnel_port: Port | None = None
    """Of gue."""
    tunnel_flags: tuple[Literal["csum", "remcsum"], ...] = ()
    weight: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 1
    upper_threshold: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    """Connections at which it gets no new ones; 0 is no limit. The range is ipvsadm(8)'s."""
    lower_threshold: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0


class Service(Table, frozen=True):
    """A virtual service: an address with a port, or a firewall mark."""

    vip: str | None = None
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] | None = None
    """0 is every port, of a persistent service."""
    protocol: Literal["tcp", "udp", "sctp"] = "tcp"
    fwmark: Annotated[int, msgspec.Meta(ge=1, le=2**32 - 1)] | None = None
    family: Literal[4, 6] | None = None
    """Of a firewall mark's packets; default 4."""
    scheduler: Scheduler = "rr"
    flags: tuple[str, ...] = ()
    """The scheduler's: sh-fallback, sh-port, mh-fallback, mh-port, or flag-1 to flag-3."""
    ops: bool = False
    """One-packet scheduling, of UDP."""
    persistence: Duration | None = None
    netmask: str | int | None = None
    """Of persistence: 255.255.255.0, or a prefix's length for IPv6; default: one client."""
    persistence_engine: Literal["sip"] | None = None
    destinations: tuple[Destination, ...] = ()


class Timeouts(Table, frozen=True):
    """How long an idle connection stays in the director's table."""

    tcp: Duration
    tcp_fin: Duration
    udp: Duration


class SyncDaemon(Table, frozen=True):
    """A thread that sends the director's connections to others, or takes theirs."""

    state: Literal["master", "backup"]
    interface: Annotated[str, msgspec.Meta(min_length=1, max_length=15)]
    id: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0
    maxlen: Annotated[int, msgspec.Meta(ge=1, le=65507)] | None = None
    """Largest message, bytes; default: what fits the interface's MTU."""
    group: str = "224.0.0.81"
    port: Port = 8848
    ttl: Annotated[int, msgspec.Meta(ge=1, le=255)] = 1


class Ipvs(Table, frozen=True):
    """What a director has once, not by service; what is not named stays as it is."""

    timeouts: Timeouts | None = None
    sync: tuple[SyncDaemon, ...] | None = None


class Peer(Table, frozen=True):
    """A real server or a client."""

    host: str
    name: str | None = None
    address: str | None = None
    become: bool = False
    dirtune: str = "dirtune"
    """How dirtune is called there; it prepares real servers."""

    def __post_init__(self) -> None:
        _require_name(self.host)

    @property
    def label(self) -> str:
        """What results call it."""
        return self.name or self.host


class Command(Table, frozen=True):
    """A generator of the user's own; what it prints is read by regular expressions."""

    run: str
    """The command, run without a shell; `{url}`, `{rate}` (of this client), `{connections}`,
    `{seconds}` and `{timeout}` (seconds) are filled in."""
    replies: str
    """A regular expression whose first group is the number of good replies."""
    elapsed: str
    """One whose first group is how long they took, in seconds."""
    open_loop: bool = False
    """Whether it begins connections by the clock, whatever becomes of them. Only then do its
    trials say anything about loss."""


class Load(Table, frozen=True):
    """What the clients ask for."""

    rates: tuple[Positive, ...]
    service: Annotated[int, msgspec.Meta(ge=0)] = 0
    generator: Literal["h2load", "httperf", "wrk", "command"] = "h2load"
    """wrk is a closed loop: a peak probe, never used for loss or comparison."""
    command: Command | None = None
    """Of the generator `command`."""
    connections: Count = 50
    """What each client of a closed loop keeps open; it offers no rate."""
    profile: Literal["standard", "lab", "ci"] | None = None
    """Defaults for ramp, warmup, window, settle, pairs and repeats; see `profiles`."""
    force: str | None = None
    """The vip, to bench it although it carries connections that are not ours."""
    duration: Duration | None = None
    """Of the load; default: ramp, warm-up and window and one second."""
    ramp: Duration = 0
    """From no load to the full rate, in steps; of h2load alone."""
    warmup: Duration = "5s"
    """At the full rate."""
    warmup_max: Duration | None = None
    """Up to which it goes on while the director's connections are not steady; the load lasts as
    much longer in any case. Default: no longer than `warmup`."""
    window: Duration = "10s"
    timeout: Duration = "1s"
    path: str = "/"
    keepalive: Count = 1
    """Requests for each connection, one after the other; of h2load and httperf. Rates and counts
    stay those of connections: a reply is so much of one."""
    repeats: Count = 3
    """Trials at each rate of a sweep."""
    pairs: Count = 8
    """Pairs of a comparison; a pair is one trial of each arm."""
    settle: Literal["drain", "idle"] = "idle"
    """`drain` waits for the connection table as well."""

    @property
    def open_loop(self) -> bool:
        """Whether the generator begins connections by the clock, whatever becomes of them."""
        from dirtune.plan import generators  # noqa: PLC0415  (they are given a load)

        own = generators.find(self.generator).ABILITIES.open_loop
        return self.command is not None and self.command.open_loop if own is None else own

    @property
    def ramp_s(self) -> float:
        """Seconds from no load to the full rate."""
        return seconds(self.ramp)

    @property
    def warmup_s(self) -> float:
        """Seconds of the full rate before the window."""
        return seconds(self.warmup)

    @property
    def lead_s(self) -> float:
        """Seconds of load before the window at least."""
        return self.ramp_s + self.warmup_s

    @property
    def lead_max_s(self) -> float:
        """Seconds of load before the window at most."""
        longest = self.warmup if self.warmup_max is None else self.warmup_max
        return self.ramp_s + seconds(longest)

    @property
    def window_s(self) -> float:
        """Seconds measured."""
        return seconds(self.window)

    @property
    def timeout_s(self) -> float:
        """Seconds after which a connection counts as failed."""
        return seconds(self.timeout)

    @property
    def load_s(self) -> float:
        """Seconds of load."""
        least = self.lead_max_s + self.window_s + 1
        return least if self.duration is None else seconds(self.duration)


class Settle(Table, frozen=True):
    """When a trial may begin: the director has been idle for some seconds in a row."""

    idle: Percent = 95.0
    seconds: Count = 3
    max: Duration = "60s"

    @property
    def max_s(self) -> float:
        """Seconds after which the trial begins anyway, marked as not settled."""
        return seconds(self.max)


class Compare(Table, frozen=True):
    """How arms are compared."""

    primary: str = "cpu_us_per_connection"
    threshold: Percent = 2.0
    """Smallest effect that matters, in per cent."""
    rates: tuple[Positive, ...] = ()
    """Connections/s at which arms are compared; default: the load's first rate. The first is what
    is decided by, the others are told beside it."""


class Validity(Table, frozen=True):
    """Limits beyond which a trial does not count; the defaults are for hardware."""

    unsent: Percent = 0.1
    """Per cent of the intended connections that were not begun."""
    late: Percent = 1.0
    """Per cent by which the clients' rate may fall short."""
    connections: Percent = 0.5
    """Per cent between the clients' connections and the director's count."""
    start_spread: Duration = "50ms"
    """Between the first and the last client's start."""
    client_busy: Percent = 90.0
    """Per cent of the busiest CPU of a client."""
    burst: Duration = "50ms"
    """httperf: longest stall, as the connections it then made up for would take at the rate."""
    poll_cpu: Percent = 95.0
    """httperf: least CPU that it got; it always polls and wants a whole one."""
    refused: Percent = 0.1
    """Per cent of the connections that one real server refused with a RST."""
    shares: Percent = 2.0
    """Points between a real server's share of the connections and what rr or wrr promise."""
    steal: Percent = 2.0
    """Mean steal of the director or of this machine, per cent."""
    other_process: Percent = 5.0
    """What a program took on the director, in per cent of one CPU."""
    steal_peak: Percent = 10.0
    """Steal of this machine in any second, per cent."""
    pair_steal: Percent | None = None
    """Largest difference of this machine's steal within a pair, in points."""
    pair_busy: Percent | None = None
    """The same of its load: where the nodes share it, another program slows them all."""
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
    """Between the two bounds, in per cent."""
    warmup: Duration = "2s"
    trial: Duration = "10s"
    """Window of the search's trials; the rate found is confirmed with the load's own."""


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
    """Of the director."""
    forwarding: tuple[Literal["nat", "dr", "tun"], ...] = ()
    scheduler: tuple[Scheduler, ...] = ()
    real_servers: tuple[Count, ...] = ()
    """How many of the service's destinations, from the first."""
    page_bytes: tuple[Count, ...] = ()
    keepalive: tuple[Count, ...] = ()
    """Requests for each connection."""
    clients: tuple[Count, ...] = ()
    """How many of the clients, from the first: where half of them make as much as all, it is not
    they that limit."""
    page_path: str | None = None
    """Where a page of each size lies, such as `/{page_bytes}.html`; `page_bytes` needs it."""


AXES = (
    *("kernel", "cpus", "forwarding", "scheduler", "real_servers"),
    *("page_bytes", "keepalive", "clients"),
)
"""Of the matrix, in the order in which a cell is named."""


class Price(Table, frozen=True):
    """What the set-up costs, for price per connection/s."""

    currency: str
    director: Positive
    real_server: Positive | None = None
    """One of them."""
    switch: Positive | None = None
    date: str | None = None
    """When the prices held."""
    of: dict[str, str | int] = {}
    """The cell the prices are of, such as `{cpus = 4, real_servers = 4}`."""


class Configuration(Table, frozen=True, kw_only=True):
    """The part of a plan that a director is set up from."""

    services: tuple[Service, ...]
    director: Director = Director()
    real_servers: tuple[Peer, ...] = ()
    ipvs: Ipvs = Ipvs()
    title: str = ""
    ssh_config: str | None = None
    """Relative to the plan's folder."""


class Traffic(Configuration, frozen=True, kw_only=True):
    """The part of a plan by which traffic that nobody here makes is compared."""

    compare: Compare = Compare()


class Plan(Traffic, frozen=True, kw_only=True):
    """A whole plan."""

    load: Load
    clients: tuple[Peer, ...]
    settle: Settle = Settle()
    validity: Validity = Validity()
    notes: tuple[str, ...] = ()
    """What a reader of the results must know of these nodes."""
    knee: Knee | None = None
    controls: Controls | None = None
    matrix: Matrix | None = None
    price: Price | None = None

    @property
    def pair_rates(self) -> tuple[float, ...]:
        """Connections/s at which arms are compared, the one that is decided by first."""
        return self.compare.rates or self.load.rates[:1]

    @property
    def compared_at(self) -> tuple[float | None, ...]:
        """The same as a comparison takes them: None for the only rate that its trials have."""
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

    def destination(self, each: Destination) -> str | None:
        """Return what results call a destination: its real server's label, else its address."""
        return each.node or self.server_at(each.address or "")

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
        """Where the load goes."""
        vip = self.service.vip or ""
        host = f"[{vip}]" if ":" in vip else vip
        return f"http://{host}:{self.service.port}{self.load.path}"


def seconds(duration: Duration) -> float:
    """Return *duration* in seconds; `PlanError` if it is none."""
    if isinstance(duration, (int, float)):
        return float(duration)
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(ms|s|m|h)", duration.strip())
    if found is None:
        raise PlanError(f"{duration!r}: not a duration such as 500ms, 90s or 3m")
    return float(found[1]) * _UNITS[found[2]]
