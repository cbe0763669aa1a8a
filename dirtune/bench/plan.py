"""A bench plan: the TOML file that says which nodes take part and what is asked of them.

Nothing here reaches a node. Rates are connections per second over all clients; durations are
written `500ms`, `90s`, `3m`, or as a number of seconds.
"""

import math
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, TypeVar

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
    """Default: the service's."""
    forwarding: Literal["nat", "dr", "tun"] = "dr"
    tunnel: Literal["ipip", "gue", "gre"] | None = None
    tunnel_port: Port | None = None
    """Of gue."""
    tunnel_flags: tuple[Literal["csum", "remcsum"], ...] = ()
    weight: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 1
    upper_threshold: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)] = 0
    """Connections at which it gets no new ones; 0 is no limit."""
    lower_threshold: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)] = 0


class Service(Table, frozen=True):
    """A virtual service: an address with a port, or a firewall mark."""

    vip: str | None = None
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] | None = None
    """0 is every port, of a persistent service."""
    protocol: Literal["tcp", "udp", "sctp"] = "tcp"
    fwmark: Annotated[int, msgspec.Meta(ge=1, le=2**32 - 1)] | None = None
    family: Literal[4, 6] | None = None
    """Of a firewall mark's packets; default 4."""
    scheduler: Annotated[str, msgspec.Meta(pattern="^[a-z0-9_-]{1,15}$")] = "rr"
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
    """Loss goals of the search for the highest rate."""

    loss: tuple[float, ...] = (1e-4,)


class Controls(Table, frozen=True):
    """Controls beside the main measurement."""

    direct: bool = False
    routed: bool = False
    null_server: bool = False


class Configuration(Table, frozen=True, kw_only=True):
    """The part of a plan that a director is set up from."""

    services: tuple[Service, ...]
    director: Director = Director()
    real_servers: tuple[Peer, ...] = ()
    ipvs: Ipvs = Ipvs()
    title: str = ""
    ssh_config: str | None = None
    """Relative to the plan's folder."""


class Plan(Configuration, frozen=True, kw_only=True):
    """A whole plan."""

    load: Load
    clients: tuple[Peer, ...]
    settle: Settle = Settle()
    compare: Compare = Compare()
    validity: Validity = Validity()
    notes: tuple[str, ...] = ()
    """What a reader of the results must know of these nodes."""
    knee: Knee | None = None
    controls: Controls | None = None
    matrix: dict[str, tuple[object, ...]] | None = None
    price: dict[str, object] | None = None

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
    def url(self) -> str:
        """Where the load goes."""
        vip = self.service.vip or ""
        host = f"[{vip}]" if ":" in vip else vip
        return f"http://{host}:{self.service.port}{self.load.path}"


_Parsed = TypeVar("_Parsed", bound=Configuration)


def read(path: Path) -> Plan:
    """Read and check a plan; `PlanError` names the file and the key.

    `ssh_config` comes back as an absolute path.
    """
    return _read(path, parse)


def read_configuration(path: Path) -> Configuration:
    """Read what a director is set up from, out of a plan with or without a load.

    One whose name ends in .json is JSON with the same keys, which thousands of services made by
    a program are read from fifty times as fast.
    """
    return _read(path, parse_json if path.suffix == ".json" else parse_configuration)


def parse(text: str) -> Plan:
    """Parse the text of a plan; `PlanError` names the key."""
    plan = _converted(_document(text), Plan)
    _check(plan)
    return plan


def parse_configuration(text: str) -> Configuration:
    """Parse the part of a plan that a director is set up from."""
    return configuration(_document(text))


def parse_json(text: str) -> Configuration:
    """Parse it as JSON."""
    try:
        return configuration(msgspec.json.decode(text, type=dict[str, object]))
    except msgspec.DecodeError as error:
        raise PlanError(f"not JSON: {error}") from error


def configuration(document: dict[str, object]) -> Configuration:
    """Check that part as a plain document; `PlanError` names the key."""
    others = {*Plan.__struct_fields__} - {*Configuration.__struct_fields__}
    mine = {key: value for key, value in document.items() if key not in others}
    found = _converted(mine, Configuration)
    _check_services(found)
    return found


def _read(path: Path, parsed: Callable[[str], _Parsed]) -> _Parsed:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PlanError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PlanError(f"{path}: not UTF-8 text") from error
    try:
        plan = parsed(text)
    except PlanError as error:
        raise PlanError(f"{path}: {error}") from error
    if plan.ssh_config is None:
        return plan
    config = (path.parent / Path(plan.ssh_config).expanduser()).resolve()
    return msgspec.structs.replace(plan, ssh_config=str(config))


def _document(text: str) -> dict[str, object]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"not TOML: {error}") from error
    if "lab" in document:
        raise PlanError(
            "[lab]: a lab writes its own plan; run `dirtune lab up`, then leave PLAN out"
        )
    return document


def _converted(document: dict[str, object], kind: type[_Parsed]) -> _Parsed:
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise PlanError(str(error)) from error


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
    unused = [
        f"[{name}] is read and not carried out by this version"
        for name in ("knee", "controls", "matrix", "price")
        if getattr(plan, name) is not None
    ]
    return (*_tuple_budget(plan), *_short(plan), *unused)


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
    _check_services(plan)


def _check_duration(key: str, duration: Duration) -> None:
    try:
        if seconds(duration) >= 0:
            return
    except PlanError as error:
        raise PlanError(f"{key}: {error}") from error
    raise PlanError(f"{key}: must not be negative")


def _check_services(plan: Configuration) -> None:
    known = {server.label for server in plan.real_servers}
    for i, service in enumerate(plan.services):
        if service.port == 0 and service.persistence is None:
            raise PlanError(f"services[{i}].port: 0 is every port, and needs persistence")
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
"""
