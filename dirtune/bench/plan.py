"""A bench plan: the TOML file that says which nodes take part and what is asked of them.

Nothing here reaches a node. Rates are connections per second over all clients; durations are
written `500ms`, `90s`, `3m`, or as a number of seconds.
"""

import math
import re
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec

from dirtune.bench import profiles
from dirtune.bench.toml_lines import line_of, path_of
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
    def open_loop(self) -> bool:
        """Whether the generator begins connections by the clock, whatever becomes of them."""
        if self.generator == "command":
            return self.command is not None and self.command.open_loop
        return self.generator != "wrk"

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
        """Seconds of load before the window."""
        return self.ramp_s + self.warmup_s

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
        least = self.lead_s + self.window_s + 1
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
    steal_peak: Percent = 10.0
    """Steal of this machine in any second, per cent."""
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
    """Parse the text of a plan; `PlanError` names the key and its line."""
    with _located(text):
        plan = _converted(profiles.applied(_document(text)), Plan)
        _check(plan)
    return plan


def parse_configuration(text: str) -> Configuration:
    """Parse the part of a plan that a director is set up from; `PlanError` likewise."""
    with _located(text):
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
        said, _, where = str(error).partition(" - at `$")
        raise PlanError(": ".join(filter(None, (where.strip("`."), said)))) from error


@contextmanager
def _located(text: str) -> Iterator[None]:
    """Add the line of *text* that a complaint's key stands on."""
    try:
        yield
    except PlanError as error:
        key, colon, said = str(error).partition(": ")
        raise PlanError(_at(key, said, text) if colon else _at("", key, text)) from error


def _at(key: str, said: str, text: str) -> str:
    """Return a complaint about *key* with the line it stands on, or its table does."""
    # A field that is missing or not known is named in the message alone.
    field = re.search(r"field `(\w+)`", said)
    line = line_of(text, (*path_of(key), *((field[1],) if field else ())))
    where = f"line {line}: " if line is not None else ""
    return f"{where}{key}: {said}" if key else f"{where}{said}"


def seconds(duration: Duration) -> float:
    """Return *duration* in seconds; `PlanError` if it is none."""
    if isinstance(duration, (int, float)):
        return float(duration)
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(ms|s|m|h)", duration.strip())
    if found is None:
        raise PlanError(f"{duration!r}: not a duration such as 500ms, 90s or 3m")
    return float(found[1]) * _UNITS[found[2]]


def forced(plan: Plan, vip: str | None) -> Plan:
    """Return *plan* with its *vip* named, to bench it whoever uses it; as it is without one."""
    if vip is None:
        return plan
    named = msgspec.structs.replace(plan, load=msgspec.structs.replace(plan.load, force=vip))
    _check(named)
    return named


def warnings(plan: Plan) -> tuple[str, ...]:
    """Return what may spoil the plan's results, each in one sentence."""
    return (*_over_budget(plan), *_closed(plan), *_short(plan))


def estimate_s(plan: Plan, trials: int) -> float:
    """Return about how many seconds *trials* trials take, with a director that settles at once.

    A connection table that must drain takes the life of its entries.
    """
    drains = plan.load.settle == "drain"
    gap_s = min(plan.settle.max_s, TABLE_LIFE_S) if drains else 0
    overhead = gap_s + plan.settle.seconds + plan.load.timeout_s + 4
    return trials * (plan.load.load_s + overhead)


class TupleBudget(msgspec.Struct, frozen=True):
    """Connections per second that a client may open before ports come up again.

    A finished connection keeps its entry, and so its port, for 120 s.
    """

    each: float
    """What the plan's highest rate asks of a client."""
    default: float
    """With the kernel's own range of ports."""
    widest: float
    """With all of them: net.ipv4.ip_local_port_range = 1024 65535."""
    clients: int
    """How many clients the highest rate needs at least."""


def tuple_budget(plan: Plan) -> TupleBudget:
    """Return what the plan asks of its clients' ports, and what they have."""
    total = max(plan.load.rates)
    return TupleBudget(
        each=total / len(plan.clients),
        default=_PORTS_DEFAULT / TABLE_LIFE_S,
        widest=_PORTS_ALL / TABLE_LIFE_S,
        clients=math.ceil(total * TABLE_LIFE_S / _PORTS_ALL),
    )


def _over_budget(plan: Plan) -> tuple[str, ...]:
    if not plan.load.open_loop:
        return ()
    budget = tuple_budget(plan)
    if budget.each > budget.widest:
        why = f"use {_PORTS_ALL} ports up before an entry's {TABLE_LIFE_S} s are over"
        asked = f"{budget.each:g} connections/s per client {why}"
        return (f"{asked}: take {budget.clients} clients",)
    if budget.each > budget.default:
        wide = "net.ipv4.ip_local_port_range = 1024 65535"
        return (f"{budget.each:g} connections/s per client need {wide} there",)
    return ()


def _closed(plan: Plan) -> tuple[str, ...]:
    if plan.load.open_loop:
        return ()
    name = plan.load.generator
    return (f"{name} is a closed loop: its trials probe the peak and say nothing about loss",)


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
    for key in ("ramp", "warmup", "window", "timeout"):
        _check_duration(f"load.{key}", getattr(load, key))
    for key in ("window", "timeout"):
        if seconds(getattr(load, key)) == 0:
            raise PlanError(f"load.{key}: must not be 0")
    _check_duration("settle.max", plan.settle.max)
    for key in ("start_spread", "burst"):
        _check_duration(f"validity.{key}", getattr(plan.validity, key))
    if load.load_s < load.lead_s + load.window_s:
        raise PlanError("load.duration: is shorter than ramp, warmup and window together")
    _check_generator(plan)
    _check_services(plan)
    _check_targets(plan)


def _check_generator(plan: Plan) -> None:
    load = plan.load
    if (load.generator == "command") != (load.command is not None):
        raise PlanError('load.command: belongs to generator = "command", and that needs it')
    if load.command is not None:
        _check_command(load.command)
    if plan.knee is not None and not load.open_loop:
        raise PlanError(f"load.generator: {load.generator} is a closed loop and finds no knee")
    if load.ramp_s and load.generator not in profiles.RAMPED:
        raise PlanError(f"load.ramp: {load.generator} is given its load at once")
    if load.force is not None and load.force != plan.service.vip:
        raise PlanError(f"load.force: {load.force} is not the vip, {plan.service.vip}")


def _check_command(command: Command) -> None:
    for key in ("replies", "elapsed"):
        try:
            groups = re.compile(getattr(command, key)).groups
        except re.error as error:
            raise PlanError(f"load.command.{key}: {error}") from error
        if groups < 1:
            raise PlanError(f"load.command.{key}: needs a group (...) around the number")
    try:
        words = command.run.format(url="", rate=1, connections=1, seconds=1, timeout=1)
    except (KeyError, IndexError, ValueError) as error:
        raise PlanError(f"load.command.run: {{{error}}} is not filled in") from error
    if not words.split():
        raise PlanError("load.command.run: is empty")


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
generator = "h2load"         # h2load | httperf | wrk (peak probe only) | command
rates = [200, 400]           # connections/s over all clients
profile = "standard"         # ramp 10 s, hold 130 s, window 60 s | lab | ci
timeout = "1s"
repeats = 3                  # at each rate of a sweep
pairs = 8                    # of a comparison

[settle]
idle = 95                    # per cent, of the director
seconds = 3                  # in a row
max = "130s"

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
