"""Check the rules of a plan that its types cannot express. Pure.

The message of every `PlanError` begins with the wrong key.
"""

import itertools
import math
import re
from collections.abc import Sequence

from dirtune.errors import PlanError
from dirtune.plan import generators, services
from dirtune.plan.configuration import Configuration, Peer
from dirtune.plan.load import Command, Load
from dirtune.plan.metrics import METRICS
from dirtune.plan.tables import AXES, Controls, Matrix, Plan, Traffic
from dirtune.plan.values import Duration, seconds

# The rate that clients offer is within 2 % of the requested rate.
_APART = 1.05
# With one pair less, even pairs that all agree have p = 2/64, above the alpha of a look (0.0294).
_FIRST_LOOK = 7


def check(plan: Plan) -> None:
    """Check a complete plan.

    Raises `PlanError` with the wrong key.
    """
    load = plan.load
    if not load.rates:
        raise PlanError("load.rates: name at least one rate")
    # Compare rates as they appear in the ids of trials.
    _require_distinct("load.rates", tuple(f"{rate:g}" for rate in load.rates))
    if load.service >= len(plan.services):
        raise PlanError(
            f"load.service: {load.service} is not the number of a service; the plan has "
            f"{len(plan.services)} services, numbered from 0"
        )
    if not plan.clients:
        raise PlanError("clients: name at least one client")
    if plan.service.vip is None or plan.service.port is None:
        raise PlanError(
            f"services[{load.service}]: the service that carries the load needs a vip and a port"
        )
    _check_phases(load)
    check_looks(load)
    _check_duration("settle.max", plan.settle.max)
    for key in ("start_spread", "burst"):
        _check_duration(f"validity.{key}", getattr(plan.validity, key))
    _check_generator(plan)
    check_compare(plan)
    check_services(plan)
    _check_nodes(plan)
    _check_ends(plan)
    _check_targets(plan)


def _require_distinct(key: str, names: tuple[str, ...]) -> None:
    for number, name in enumerate(names):
        first = names.index(name)
        if first != number:
            raise PlanError(f"{key}[{number}]: {name} repeats {key}[{first}]")


def _check_nodes(plan: Plan) -> None:
    for key in ("clients", "real_servers"):
        peers: tuple[Peer, ...] = getattr(plan, key)
        _require_distinct(key, tuple(peer.label for peer in peers))
        for number, peer in enumerate(peers):
            if peer.address is not None:
                services.address_of(f"{key}[{number}].address", peer.address)
    if plan.backup is not None and plan.backup.host == plan.director.host:
        raise PlanError(f"backup.host: {plan.backup.host} is the director. Name another host")
    _require_distinct("clients", tuple(peer.host for peer in plan.clients))
    _require_distinct("real_servers", tuple(s.address or s.label for s in plan.real_servers))
    router = None if plan.controls is None else plan.controls.router
    backup = None if plan.backup is None else plan.backup.address
    for at, text in (
        ("director.address", plan.director.address),
        ("backup.address", backup),
        ("controls.router", router),
    ):
        if text is not None:
            services.address_of(at, text)


def _check_ends(plan: Plan) -> None:
    """Check the services by the rules of IPVS.

    Some rules are checked only if every real server has an address, because a plan that only runs
    a load may leave the addresses out.
    """
    if all(server.address is not None for server in plan.real_servers):
        services.table(plan)
        return
    for number, service in enumerate(plan.services):
        at = f"services[{number}]"
        if service.vip is not None:
            services.address_of(f"{at}.vip", service.vip)
        ends = [
            f"{end.node or end.address}:{service.port if end.port is None else end.port}"
            for end in service.destinations
        ]
        _require_distinct(f"{at}.destinations", tuple(ends))
        for place, destination in enumerate(service.destinations):
            if destination.address is not None:
                services.address_of(f"{at}.destinations[{place}].address", destination.address)


def _check_phases(load: Load) -> None:
    for key in ("ramp", "warmup", "warmup_max", "window", "timeout"):
        if (duration := getattr(load, key)) is not None:
            _check_duration(f"load.{key}", duration)
    for key in ("window", "timeout"):
        if seconds(getattr(load, key)) == 0:
            raise PlanError(f"load.{key}: the duration must not be 0")
    if load.lead_max_s < load.lead_s:
        raise PlanError("load.warmup_max: the longest warm-up is shorter than load.warmup")
    if load.load_s < load.lead_max_s + load.window_s:
        raise PlanError(
            f"load.duration: the load of {load.load_s:g} s is shorter than ramp, warm-up and "
            f"window together ({load.lead_max_s + load.window_s:g} s)"
        )


def check_looks(load: Load) -> None:
    """Check that `load.at_most` is twice `load.pairs`.

    The significance levels of the two looks (interim tests) are only valid for this ratio.
    """
    if load.at_most is None:
        return
    if load.pairs < _FIRST_LOOK:
        raise PlanError(
            f"load.at_most: a first verdict after {load.pairs} pairs is not possible. Set "
            f"load.pairs to {_FIRST_LOOK} or more, or leave at_most out"
        )
    if load.at_most != 2 * load.pairs:
        raise PlanError(
            f"load.at_most: {load.at_most} is not twice load.pairs ({load.pairs}). The "
            "significance levels of two looks at the results are only valid for twice as many "
            f"pairs. Set load.at_most to {2 * load.pairs}, or leave it out for a single look"
        )


def _check_generator(plan: Plan) -> None:
    load = plan.load
    can = generators.find(load.generator).ABILITIES
    if can.of_plan != (load.command is not None):
        raise PlanError(
            'load.command: generator = "command" needs this table'
            if can.of_plan
            else f'load.command: only generator = "command" uses this table, not {load.generator}'
        )
    if load.command is not None:
        _check_command(load.command)
    if plan.knee is not None and not load.open_loop:
        raise PlanError(
            f"load.generator: {load.generator} is a closed loop, which cannot show a knee"
        )
    if load.ramp_s and not can.ramps:
        raise PlanError(f"load.ramp: {load.generator} cannot raise its load in steps; use h2load")
    requests = (load.keepalive, *(plan.matrix or Matrix()).keepalive)
    if max(requests) > 1 and not can.keeps_alive:
        raise PlanError(
            f"load.generator: {load.generator} makes only one request per connection; "
            "leave keepalive out"
        )
    if load.force is not None and load.force != plan.service.vip:
        raise PlanError(
            f"load.force: {load.force} is not the vip of the service ({plan.service.vip})"
        )


def check_compare(plan: Traffic) -> None:
    """Check the table `compare` of a plan.

    Raises `PlanError` with the wrong key.
    """
    primary = plan.compare.primary
    if primary not in METRICS:
        known = ", ".join(METRICS)
        raise PlanError(f"compare.primary: {primary} is not a metric. Choose one of {known}.")
    covariate = plan.compare.covariate
    if covariate is not None and covariate not in METRICS.keys() - {primary}:
        known = ", ".join(name for name in METRICS if name != primary)
        raise PlanError(f"compare.covariate: {covariate} is not possible. Choose one of {known}.")
    for lower, higher in itertools.pairwise(sorted(plan.compare.rates)):
        if higher < _APART * lower:
            raise PlanError(
                f"compare.rates: {lower:g} and {higher:g} connections/s differ by less than "
                f"{100 * (_APART - 1):.0f} %. Choose rates that differ more"
            )


def _check_command(command: Command) -> None:
    for key in ("replies", "elapsed"):
        try:
            groups = re.compile(getattr(command, key)).groups
        except re.error as error:
            raise PlanError(
                f"load.command.{key}: the regular expression is wrong: {error}"
            ) from error
        if groups < 1:
            raise PlanError(
                f"load.command.{key}: the regular expression needs a group (...) around the number"
            )
    try:
        words = command.run.format(url="", rate=1, connections=1, seconds=1, timeout=1)
    except (KeyError, IndexError, ValueError) as error:
        raise PlanError(
            f"load.command.run: the braces cannot be filled in ({error}). Use only {{url}}, "
            "{rate}, {connections}, {seconds} and {timeout}"
        ) from error
    if not words.split():
        raise PlanError("load.command.run: the command is empty")


def _check_targets(plan: Plan) -> None:
    if plan.knee is not None:
        for key in ("warmup", "trial"):
            _check_duration(f"knee.{key}", getattr(plan.knee, key))
        _require_distinct("knee.loss", tuple(f"{goal:g}" for goal in plan.knee.loss))
        if seconds(plan.knee.trial) <= 0:
            raise PlanError("knee.trial: the duration must not be 0")
    matrix, controls = plan.matrix or Matrix(), plan.controls or Controls()
    for axis in AXES:
        _require_distinct(f"matrix.{axis}", tuple(map(str, getattr(matrix, axis))))
    destinations, clients = plan.service.destinations, plan.clients
    _require_few(
        "matrix.real_servers", matrix.real_servers, destinations, "destinations of the service"
    )
    _require_few("matrix.clients", matrix.clients, clients, "clients of the plan")
    if matrix.page_bytes and "{page_bytes}" not in (matrix.page_path or ""):
        raise PlanError(
            "matrix.page_path does not contain {page_bytes}. Set the path of the pages, such as "
            "/{page_bytes}.html"
        )
    if (controls.direct or controls.routed or controls.link) and not plan.service.destinations:
        raise PlanError(
            "controls: the control trials direct, routed and link need a real server, "
            "but the service has no destinations"
        )
    if controls.routed and controls.router is None:
        raise PlanError(
            "controls.router: the control trial routed needs this key, "
            "the director's address on the clients' network"
        )


def _require_few(key: str, counts: Sequence[int], of: Sequence[object], items: str) -> None:
    if too_many := [count for count in counts if count > len(of)]:
        raise PlanError(f"{key}: {too_many[0]} is more than the {len(of)} {items}")


def _check_duration(key: str, duration: Duration) -> None:
    try:
        length_s = seconds(duration)
    except PlanError as error:
        raise PlanError(f"{key}: {error}") from error
    if not 0 <= length_s < math.inf:
        sign = "negative" if length_s < 0 else "infinite"
        raise PlanError(f"{key}: the duration must not be {sign}")


def check_services(plan: Configuration) -> None:
    """Check each service and its destinations separately.

    Raises `PlanError` with the wrong key.
    """
    known = {server.label for server in plan.real_servers}
    for i, service in enumerate(plan.services):
        if service.port == 0 and service.persistence is None:
            raise PlanError(
                f"services[{i}].port: port 0 means every port and is only valid with persistence"
            )
        for j, destination in enumerate(service.destinations):
            key = f"services[{i}].destinations[{j}]"
            if (destination.node is None) == (destination.address is None):
                raise PlanError(f"{key}: a destination needs either a node or an address")
            if destination.node is not None and destination.node not in known:
                raise PlanError(f"{key}.node: no real server is named {destination.node!r}")
