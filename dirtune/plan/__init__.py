"""A bench plan: the TOML file that says which nodes take part and what is asked of them.

Reading it and checking it; nothing here reaches a node. What it may say is in `tables`.
"""

import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from dirtune import reading
from dirtune.errors import PlanError
from dirtune.formats import from_json, from_toml
from dirtune.plan import generators, profiles, services
from dirtune.plan.metrics import METRICS
from dirtune.plan.tables import (
    AXES,
    Command,
    Configuration,
    Controls,
    Duration,
    Load,
    Matrix,
    Peer,
    Plan,
    Traffic,
    seconds,
)
from dirtune.plan.toml_lines import line_of, path_of

# What clients offer is within 2 per cent of what was asked.
_APART = 1.05
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


def read_traffic(path: Path) -> Traffic:
    """Read the part of a plan by which live traffic is compared, likewise."""
    return _read(path, _json_traffic if path.suffix == ".json" else _toml_traffic)


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
    return configuration(_json(text))


def kept(document: dict[str, object]) -> Plan:
    """Return the whole plan that a run kept, to go on with it; `PlanError` names the key.

    The plan was checked when the run began.
    """
    return _converted(document, Plan)


def configuration(document: dict[str, object]) -> Configuration:
    """Check that part as a plain document; `PlanError` names the key."""
    return _part(document, Configuration)


def _part(document: dict[str, object], kind: type[_Parsed]) -> _Parsed:
    others = {*Plan.__struct_fields__} - {*kind.__struct_fields__}
    mine = {key: value for key, value in document.items() if key not in others}
    found = _converted(mine, kind)
    _check_services(found)
    return found


def _read(path: Path, parsed: Callable[[str], _Parsed]) -> _Parsed:
    try:
        text = reading.read_text(path)
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
    try:
        config = (path.parent / Path(plan.ssh_config).expanduser()).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # no such user, links in a circle, NUL
        raise PlanError(f"{path}: ssh_config: {plan.ssh_config!r}: {error}") from error
    return msgspec.structs.replace(plan, ssh_config=str(config))


def _toml_traffic(text: str) -> Traffic:
    with _located(text):
        return _traffic(_document(text))


def _json_traffic(text: str) -> Traffic:
    return _traffic(_json(text))


def _traffic(document: dict[str, object]) -> Traffic:
    found = _part(document, Traffic)
    _check_compare(found)
    return found


def _json(text: str) -> dict[str, object]:
    try:
        return from_json(text, dict[str, object])
    except msgspec.DecodeError as error:
        raise PlanError(f"not JSON: {error}") from error


def _document(text: str) -> dict[str, object]:
    document = from_toml(text)
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


def forced(plan: Plan, vip: str | None) -> Plan:
    """Return *plan* with its *vip* named, to bench it whoever uses it; as it is without one."""
    if vip is None:
        return plan
    named = msgspec.structs.replace(plan, load=msgspec.structs.replace(plan.load, force=vip))
    _check(named)
    return named


def _check(plan: Plan) -> None:
    load = plan.load
    if not load.rates:
        raise PlanError("load.rates: name at least one rate")
    # As they stand in the ids of trials.
    _require_distinct("load.rates", tuple(f"{rate:g}" for rate in load.rates))
    if load.service >= len(plan.services):
        raise PlanError(f"load.service: there is no service {load.service}")
    if not plan.clients:
        raise PlanError("clients: name at least one client")
    if plan.service.vip is None or plan.service.port is None:
        raise PlanError(f"services[{load.service}]: the load needs a vip and a port")
    _check_phases(load)
    _check_duration("settle.max", plan.settle.max)
    for key in ("start_spread", "burst"):
        _check_duration(f"validity.{key}", getattr(plan.validity, key))
    _check_generator(plan)
    _check_compare(plan)
    _check_services(plan)
    _check_nodes(plan)
    _check_ends(plan)
    _check_targets(plan)


def _require_distinct(key: str, names: tuple[str, ...]) -> None:
    for number, name in enumerate(names):
        first = names.index(name)
        if first != number:
            raise PlanError(f"{key}[{number}]: is {name}, as {key}[{first}] is")


def _check_nodes(plan: Plan) -> None:
    for key in ("clients", "real_servers"):
        peers: tuple[Peer, ...] = getattr(plan, key)
        _require_distinct(key, tuple(peer.label for peer in peers))
        for number, peer in enumerate(peers):
            if peer.address is not None:
                services.address_of(f"{key}[{number}].address", peer.address)
    _require_distinct("clients", tuple(peer.host for peer in plan.clients))
    _require_distinct("real_servers", tuple(s.address or s.label for s in plan.real_servers))
    router = None if plan.controls is None else plan.controls.router
    for at, text in (("director.address", plan.director.address), ("controls.router", router)):
        if text is not None:
            services.address_of(at, text)


def _check_ends(plan: Plan) -> None:
    """Check what IPVS would be given; the load itself can do without real servers' addresses."""
    if all(server.address is not None for server in plan.real_servers):
        services.table(plan)
        return
    for number, service in enumerate(plan.services):
        at = f"services[{number}]"
        if service.vip is not None:
            services.address_of(f"{at}.vip", service.vip)
        ends = [
            f"{each.node or each.address}:{service.port if each.port is None else each.port}"
            for each in service.destinations
        ]
        _require_distinct(f"{at}.destinations", tuple(ends))
        for place, each in enumerate(service.destinations):
            if each.address is not None:
                services.address_of(f"{at}.destinations[{place}].address", each.address)


def _check_phases(load: Load) -> None:
    for key in ("ramp", "warmup", "warmup_max", "window", "timeout"):
        if (duration := getattr(load, key)) is not None:
            _check_duration(f"load.{key}", duration)
    for key in ("window", "timeout"):
        if seconds(getattr(load, key)) == 0:
            raise PlanError(f"load.{key}: must not be 0")
    if load.lead_max_s < load.lead_s:
        raise PlanError("load.warmup_max: is shorter than warmup")
    if load.load_s < load.lead_max_s + load.window_s:
        raise PlanError("load.duration: is shorter than ramp, warmup and window together")


def _check_generator(plan: Plan) -> None:
    load = plan.load
    can = generators.find(load.generator).ABILITIES
    if can.of_plan != (load.command is not None):
        raise PlanError('load.command: belongs to generator = "command", and that needs it')
    if load.command is not None:
        _check_command(load.command)
    if plan.knee is not None and not load.open_loop:
        raise PlanError(f"load.generator: {load.generator} is a closed loop and finds no knee")
    if load.ramp_s and not can.ramps:
        raise PlanError(f"load.ramp: {load.generator} is given its load at once")
    requests = (load.keepalive, *(plan.matrix or Matrix()).keepalive)
    if max(requests) > 1 and not can.keeps_alive:
        raise PlanError(f"load.generator: {load.generator} makes one request for each connection")
    if load.force is not None and load.force != plan.service.vip:
        raise PlanError(f"load.force: {load.force} is not the vip, {plan.service.vip}")


def _check_compare(plan: Traffic) -> None:
    primary = plan.compare.primary
    if primary not in METRICS:
        known = ", ".join(METRICS)
        raise PlanError(f"compare.primary: {primary}: no such metric; there are {known}")
    for lower, higher in itertools.pairwise(sorted(plan.compare.rates)):
        if higher < _APART * lower:
            raise PlanError(
                f"compare.rates: {lower:g} and {higher:g} are too near to be told apart"
            )


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
        _require_distinct("knee.loss", tuple(f"{goal:g}" for goal in plan.knee.loss))
        if seconds(plan.knee.trial) <= 0:
            raise PlanError("knee.trial: must be positive")
    matrix, controls = plan.matrix or Matrix(), plan.controls or Controls()
    for axis in AXES:
        _require_distinct(f"matrix.{axis}", tuple(map(str, getattr(matrix, axis))))
    _require_few("matrix.real_servers", matrix.real_servers, plan.service.destinations, "service")
    _require_few("matrix.clients", matrix.clients, plan.clients, "plan")
    if matrix.page_bytes and "{page_bytes}" not in (matrix.page_path or ""):
        raise PlanError("matrix.page_path: say where the pages lie, such as /{page_bytes}.html")
    if (controls.direct or controls.routed or controls.link) and not plan.service.destinations:
        raise PlanError("controls: the service has no destination to send the load to")
    if controls.routed and controls.router is None:
        raise PlanError("controls.router: routed needs the director's address")


def _require_few(key: str, counts: Sequence[int], of: Sequence[object], owner: str) -> None:
    if too_many := [count for count in counts if count > len(of)]:
        raise PlanError(f"{key}: {too_many[0]}, and the {owner} has {len(of)}")


def _check_duration(key: str, duration: Duration) -> None:
    try:
        length_s = seconds(duration)
    except PlanError as error:
        raise PlanError(f"{key}: {error}") from error
    if not 0 <= length_s < math.inf:
        raise PlanError(f"{key}: must not be {'negative' if length_s < 0 else 'without end'}")


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
# address = "198.18.0.1"     # where real servers behind NAT send their answers

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

[[real_servers]]             # `lvs apply` prepares them by the dirtune on each
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

# rates = [320, 400, 460]    # 0.8, 1.0 and 1.15 of the knee; the first is decided by
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
# clients = [1, 2]           # where one makes as much as both, it is not they that limit
# [price]
# currency = "USD"
# director = 2500
"""
