"""Check that requests to a VIP reach every real server.

The plan's clients send requests one after another. The director's connection table shows which
real server got a request: the number of entries of this destination has risen by one. Entries
appear immediately, while the connection counters of destinations may be two seconds old. Entries
of earlier connections expire meanwhile, so only the current counter of all services shows that a
request did not reach the director.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Collection

from dirtune import remote
from dirtune.analyse.reach import Reach
from dirtune.bench import client
from dirtune.bench.connecting import connect
from dirtune.bench.director_table import ours
from dirtune.collect import ip_vs
from dirtune.errors import NodeUnreachable, NotPossible, PlanError
from dirtune.plan.tables import Plan
from dirtune.remote import Node

_TIMEOUT_S = 2
_ASK_S = 20
_ROUNDS = 3
"""The largest number of test requests per destination."""
_TABLE = "cat /proc/net/ip_vs && { echo; cat /proc/net/ip_vs_stats_percpu 2>/dev/null || true; }"
_Place = tuple[str, int]
"""The IP address and the port of a destination."""


async def reach(plan: Plan) -> Reach:
    """Send requests until every real server got a request, or the limit of requests is reached.

    Raises `PlanError` if the service cannot be checked with HTTP requests.
    """
    if plan.service.protocol != "tcp":
        raise PlanError(
            f"services[{plan.load.service}] is {plan.service.protocol}, which an HTTP request "
            "cannot check. Set load.service to a TCP service."
        )
    hosts = (plan.director.host, *(client.host for client in plan.clients))
    nodes, lost = await connect(plan, hosts)
    try:
        if plan.director.host in lost:
            raise lost[plan.director.host]
        asking = [nodes[client.host] for client in plan.clients if client.host in nodes]
        if not asking:
            raise next(iter(lost.values()))
        return await _ask(plan, nodes[plan.director.host], asking)
    finally:
        await asyncio.gather(*(node.close() for node in nodes.values()))


async def _ask(plan: Plan, director: Node, clients: list[Node]) -> Reach:
    answered: dict[_Place, bool] = {}
    requests = past = lost = 0
    before, made = await _entries(plan, director)
    expected = {place for place, (weight, _) in before.items() if weight}
    for node in itertools.islice(itertools.cycle(clients), _ROUNDS * len(expected)):
        if expected <= answered.keys():
            break
        good = await _answered(plan, node)
        after, made_by_now = await _entries(plan, director)
        # A destination that was added meanwhile had no entries before.
        moved = {place: n - before.get(place, (0, 0))[1] for place, (_, n) in after.items()}
        known = None not in (made, made_by_now)
        unseen = made == made_by_now if known else not any(moved.values())
        requests, before, made = requests + 1, after, made_by_now
        if good and unseen:
            past += 1
        # If others use the service, it may be unclear which real server got this request.
        got = {place: more for place, more in moved.items() if more > 0}
        if sum(got.values()) == 1:
            (place,) = got
            answered[place] = good and answered.get(place, True)
        elif not good:
            lost += 1
    complaints = {True: None, False: f"did not answer in {_TIMEOUT_S} s"}
    names = _names(plan, expected | answered.keys())
    servers = {names[place]: complaints[answered[place]] for place in sorted(answered)}
    untold = tuple(names[place] for place in sorted(expected - answered.keys()))
    service = f"{plan.service.vip}:{plan.service.port}"
    return Reach(service, servers, untold, requests, past, lost)


def _names(plan: Plan, places: Collection[_Place]) -> dict[_Place, str]:
    """Return the name of each destination: the label of its real server.

    The port is added if a real server has several destinations.
    """
    labels = {place: plan.server_at(place[0]) for place in places}
    count = Counter(labels.values())
    return {
        place: label if count[label] == 1 else f"{label} port {place[1]}"
        for place, label in labels.items()
    }


async def _answered(plan: Plan, node: Node) -> bool:
    try:
        text = await node.run(client.request(plan, _TIMEOUT_S), timeout_s=_ASK_S)
    except NodeUnreachable:
        return False
    found = client.reply(text)
    if found is client.Reply.NO_TOOL:
        raise NotPossible(
            f"{node.name} lacks a tool to send a request. Install curl, h2load or httperf there"
        )
    return found is client.Reply.GOOD


async def _entries(plan: Plan, director: Node) -> tuple[dict[_Place, tuple[int, int]], int | None]:
    """Return the weight and the number of connection table entries of each destination.

    The second result is the number of connections to all services so far; None if unknown. Raises
    `NotPossible` if the director lacks the service.
    """
    text = await director.run(_TABLE, most_bytes=remote.DOCUMENT_BYTES)
    table, _, counters = text.partition("\n\n")
    service = ours(ip_vs.parse_services(table), plan)
    if service is None:
        vip, port = plan.service.vip, plan.service.port
        raise NotPossible(f"{director.name} lacks the service {vip}:{port}")
    entries = {
        (end.address, end.port): (end.weight, end.active + end.inactive)
        for end in service.destinations
    }
    made = ip_vs.parse_ip_vs_stats_percpu(counters).connections if counters.strip() else None
    return entries, made
