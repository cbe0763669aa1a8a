"""A bench plan: the TOML file that says which nodes take part and what is asked of them.

Nothing here reaches a node. Rates are connections per second over all clients; durations are
written `500ms`, `90s`, `3m`, or as a number of seconds.
"""

import math
import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from dirtune.errors import PlanError

# A finished connection stays in the IPVS table this long (FIN_WAIT under DR, TIME_WAIT
# under NAT), and its client's port with it.
TABLE_LIFE_S = 120
_PORTS_ALL = 65535 - 1024 + 1
_PORTS_DEFAULT = 60999 - 32768 + 1
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]
Duration = str | int | float


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the plan: a key that is not known is an error."""


class Director(Table, frozen=True):
    """The node under test."""

    host: str = "local"
    become: bool = False
    """Run commands there through `sudo -n`."""
    dirtune: str = "dirtune"
    """How dirtune is called there."""
    max_overhead: Positive = 1.0
    """What the probes together may cost there, in per cent of one CPU."""
    host_cpus: tuple[int, ...] = ()
    """CPUs of this machine that a guest director is pinned to: what is stolen from them is
    taken off its CPU time. Empty for a director that is no guest of this machine."""


class Destination(Table, frozen=True):
    """A real server of a service."""

    node: str | None = None
    address: str | None = None
    port: Port | None = None
    forwarding: Literal["nat", "dr", "tun"] = "dr"
    tunnel: Literal["ipip", "gue"] | None = None
    weight: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 1


class Service(Table, frozen=True):
    """A virtual service: an address with a port, or a firewall mark."""

    vip: str | None = None
    port: Port | None = None
    protocol: Literal["tcp", "udp", "sctp"] = "tcp"
    fwmark: Count | None = None
    scheduler: str = "rr"
    destinations: tuple[Destination, ...] = ()


class Peer(Table, frozen=True):
    """A real server or a client."""

    host: str
    name: str | None = None
    address: str | None = None
    become: bool = False

    @property
    def label(self) -> str:
        """What results call it."""
        return self.name or self.host


class Load(Table, frozen=True):
    """What the clients ask for."""

    rates: tuple[Positive, ...]
    service: Annotated[int, msgspec.Meta(ge=0)] = 0
    generator: Literal["h2load", "httperf", "wrk", "command"] = "h2load"
    duration: Duration | None = None
    """Of the load; default: warm-up and window and one second."""
    warmup: Duration = "5s"
    window: Duration = "10s"
    timeout: Duration = "1s"
    path: str = "/"
    repeats: Count = 3
    """Trials at each rate of a sweep."""
    pairs: Count = 8
    """Pairs of a comparison; a pair is one trial of each arm."""
    settle: Literal["drain", "idle"] = "idle"
    """`drain` waits for the connection table as well."""

    @property
    def warmup_s(self) -> float:
        """Seconds before the window."""
        return seconds(self.warmup)

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
        least = self.warmup_s + self.window_s + 1
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


class Validity(Table, frozen=True):
    """Limits beyond which a trial does not count; the defaults are for hardware."""

    unsent: Percent = 0.1
    """Per cent of the intended connections that were not begun."""
    late: Percent = 1.0
    """Per cent by which the clients' rate may fall short."""
    connections: Percent = 0.5
    """Per cent between the clients' connections and the director's count."""
    start_spread: Duration = "200ms"
    """Between the first and the last client's start, as seen from here."""
    steal: Percent = 2.0
    """Mean steal of the director or of this machine, per cent."""
    pair_steal: Percent | None = None
    """Largest difference of this machine's steal within a pair, in points."""
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
    scheduler: tuple[str, ...] = ()
    real_servers: tuple[Count, ...] = ()
    """How many of the service's destinations, from the first."""
    page_bytes: tuple[Count, ...] = ()
    keepalive: tuple[Count, ...] = ()
    """Requests for each connection."""
    page_path: str | None = None
    """Where a page of each size lies, such as `/{page_bytes}.html`; `page_bytes` needs it."""


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


class Plan(Table, frozen=True):
    """A whole plan."""

    load: Load
    services: tuple[Service, ...]
    clients: tuple[Peer, ...]
    director: Director = Director()
    real_servers: tuple[Peer, ...] = ()
    settle: Settle = Settle()
    compare: Compare = Compare()
    validity: Validity = Validity()
    title: str = ""
    ssh_config: str | None = None
    """Relative to the plan's folder."""
    notes: tuple[str, ...] = ()
    """What a reader of the results must know of these nodes."""
    knee: Knee | None = None
    controls: Controls | None = None
    matrix: Matrix | None = None
    price: Price | None = None

    @property
    def service(self) -> Service:
        """The service the load goes to."""
        return self.services[self.load.service]

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every node by its ssh name, the director first."""
        peers = (peer.host for peer in (*self.real_servers, *self.clients))
        return tuple(dict.fromkeys((self.director.host, *peers)))

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


def read(path: Path) -> Plan:
    """Read and check a plan; `PlanError` names the file and the key.

    `ssh_config` comes back as an absolute path.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PlanError(f"{path}: {error.strerror}") from error
    try:
        plan = parse(text)
    except PlanError as error:
        raise PlanError(f"{path}: {error}") from error
    if plan.ssh_config is None:
        return plan
    config = (path.parent / Path(plan.ssh_config).expanduser()).resolve()
    return msgspec.structs.replace(plan, ssh_config=str(config))


def parse(text: str) -> Plan:
    """Parse the text of a plan; `PlanError` names the key."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"not TOML: {error}") from error
    if "lab" in document:
        raise PlanError(
            "[lab]: a lab writes its own plan; run `dirtune lab up`, then leave PLAN out"
        )
    try:
        plan = msgspec.convert(document, Plan)
    except msgspec.ValidationError as error:
        raise PlanError(str(error)) from error
    _check(plan)
    return plan


def seconds(duration: Duration) -> float:
    """Return *duration* in seconds; `PlanError` if it is none."""
    if isinstance(duration, (int, float)):
        return float(duration)
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(ms|s|m|h)", duration.strip())
    if found is None:
        raise PlanError(f"{duration!r}: not a duration such as 500ms, 90s or 3m")
    return float(found[1]) * _UNITS[found[2]]


def warnings(plan: Plan) -> tuple[str, ...]:
    """Return what may spoil the plan's results, each in one sentence."""
    return (*_tuple_budget(plan), *_short(plan))


def estimate_s(plan: Plan, trials: int) -> float:
    """Return about how many seconds *trials* trials take, with a director that settles at once."""
    overhead = plan.settle.seconds + plan.load.timeout_s + 4
    return trials * (plan.load.load_s + overhead)


def _tuple_budget(plan: Plan) -> tuple[str, ...]:
    total = max(plan.load.rates)
    each = total / len(plan.clients)
    if each > _PORTS_ALL / TABLE_LIFE_S:
        needed = math.ceil(total * TABLE_LIFE_S / _PORTS_ALL)
        why = f"use {_PORTS_ALL} ports up before an entry's {TABLE_LIFE_S} s are over"
        return (f"{each:g} connections/s per client {why}: take {needed} clients",)
    if each > _PORTS_DEFAULT / TABLE_LIFE_S:
        wide = "net.ipv4.ip_local_port_range = 1024 65535"
        return (f"{each:g} connections/s per client need {wide} there",)
    return ()


def _short(plan: Plan) -> tuple[str, ...]:
    if plan.load.load_s >= TABLE_LIFE_S:
        return ()
    return (
        (
            f"trials of {plan.load.load_s:g} s are short: the connection table grows for "
            f"{TABLE_LIFE_S} s; compare them with trials of the same length only"
        ),
    )


def _check(plan: Plan) -> None:
    load = plan.load
    if not load.rates:
        raise PlanError("load.rates: name at least one rate")
    if load.service >= len(plan.services):
        raise PlanError(f"load.service: there is no service {load.service}")
    if not plan.clients:
        raise PlanError("clients: name at least one client")
    if plan.service.vip is None or plan.service.port is None:
        raise PlanError(f"services[{load.service}]: the load needs a vip and a port")
    if load.generator != "h2load":
        raise PlanError(
            f"load.generator: {load.generator} is not driven by this version; use h2load"
        )
    for key in ("warmup", "window", "timeout"):
        _check_duration(f"load.{key}", getattr(load, key))
    _check_duration("settle.max", plan.settle.max)
    _check_duration("validity.start_spread", plan.validity.start_spread)
    if load.load_s < load.warmup_s + load.window_s:
        raise PlanError("load.duration: is shorter than load.warmup and load.window together")
    _check_destinations(plan)
    _check_targets(plan)


def _check_targets(plan: Plan) -> None:
    if plan.knee is not None:
        for key in ("warmup", "trial"):
            _check_duration(f"knee.{key}", getattr(plan.knee, key))
        if seconds(plan.knee.trial) <= 0:
            raise PlanError("knee.trial: must be positive")
    matrix, controls = plan.matrix or Matrix(), plan.controls or Controls()
    most = len(plan.service.destinations)
    if too_many := [count for count in matrix.real_servers if count > most]:
        raise PlanError(f"matrix.real_servers: {too_many[0]}, and the service has {most}")
    if matrix.page_bytes and "{page_bytes}" not in (matrix.page_path or ""):
        raise PlanError("matrix.page_path: say where the pages lie, such as /{page_bytes}.html")
    if (controls.direct or controls.routed or controls.link) and not plan.service.destinations:
        raise PlanError("controls: the service has no destination to send the load to")
    if controls.routed and controls.router is None:
        raise PlanError("controls.router: routed needs the director's address")


def _check_duration(key: str, duration: Duration) -> None:
    try:
        if seconds(duration) >= 0:
            return
    except PlanError as error:
        raise PlanError(f"{key}: {error}") from error
    raise PlanError(f"{key}: must not be negative")


def _check_destinations(plan: Plan) -> None:
    known = {server.label for server in plan.real_servers}
    for i, service in enumerate(plan.services):
        for j, destination in enumerate(service.destinations):
            key = f"services[{i}].destinations[{j}]"
            if (destination.node is None) == (destination.address is None):
                raise PlanError(f"{key}: needs a node or an address, and not both")
            if destination.node is not None and destination.node not in known:
                raise PlanError(f"{key}.node: no real server is named {destination.node!r}")


EXAMPLE = """\
# Traffic from two clients through a director to two real servers.
title = "One director, two real servers"

[director]
host = "lb1"                 # a name for ssh; "local" is this machine

[[services]]
vip = "198.18.0.100"
port = 80
scheduler = "rr"
  [[services.destinations]]
  node = "rs1"
  forwarding = "dr"          # nat | dr | tun
  [[services.destinations]]
  node = "rs2"
  forwarding = "dr"

[[real_servers]]
name = "rs1"
host = "rs1"
address = "198.18.0.11"
[[real_servers]]
name = "rs2"
host = "rs2"
address = "198.18.0.12"

[[clients]]
host = "c1"
[[clients]]
host = "c2"

[load]
rates = [200, 400]           # connections/s over all clients
warmup = "130s"              # the IPVS table stops growing after 120 s
window = "60s"
timeout = "1s"
repeats = 3                  # at each rate of a sweep
pairs = 8                    # of a comparison

[settle]
idle = 95                    # per cent, of the director
seconds = 3                  # in a row
max = "60s"

[compare]
primary = "cpu_us_per_connection"

# [knee]                     # the highest rate at which no more than this share is lost
# loss = [1e-4]
# [controls]                 # the load past the director, routed by it, and the clients' own
# direct = true
# routed = true
# router = "198.18.0.1"      # the director's address on the clients' network
# null_server = true
# link = true                # NetPIPE between the first client and the first real server
# [matrix]                   # every combination, in an order that alternates
# scheduler = ["rr", "wlc"]
# real_servers = [1, 2]
# [price]
# currency = "USD"
# director = 2500
"""
