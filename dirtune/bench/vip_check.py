"""Whether a request through the virtual address reaches every real server.

Requests go one by one from the plan's clients. Who got one, the director's own table tells: the
entries of one destination are one more than before, which it shows at once, while its counters
of connections follow two seconds later.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from dirtune import remote
from dirtune.analyse.reach import Reach
from dirtune.bench import client
from dirtune.bench.director_table import ours
from dirtune.collect import ip_vs
from dirtune.errors import NodeUnreachable, NotPossible, PlanError
from dirtune.plan.tables import Plan
from dirtune.remote import Node

_TIMEOUT_S = 2
_ASK_S = 20
_ROUNDS = 3
"""How often each destination could have had its turn."""
_TABLE = "cat /proc/net/ip_vs"
_Place = tuple[str, int]
"""Address and port of a destination."""


async def reach(plan: Plan) -> Reach:
    """Ask until every real server had a request, or each could have had some turns.

    `PlanError` where the service is none that a request of HTTP can ask.
    """
    if plan.service.protocol != "tcp":
        said = f"is {plan.service.protocol}, which no request of HTTP can check"
        raise PlanError(f"services[{plan.load.service}]: {said}: have load.service name another")
    config = None if plan.ssh_config is None else Path(plan.ssh_config)
    hosts = (plan.director.host, *(each.host for each in plan.clients))
    nodes, lost = await remote.connect_all(hosts, ssh_config=config, become=plan.become)
    try:
        if plan.director.host in lost:
            raise lost[plan.director.host]
        asking = [nodes[each.host] for each in plan.clients if each.host in nodes]
        if not asking:
            raise next(iter(lost.values()))
        return await _ask(plan, nodes[plan.director.host], asking)
    finally:
        await asyncio.gather(*(node.close() for node in nodes.values()))


async def _ask(plan: Plan, director: Node, clients: list[Node]) -> Reach:
    found: dict[_Place, bool] = {}
    requests = past = lost = 0
    before = await _entries(plan, director)
    wanted = {place for place, (weight, _) in before.items() if weight}
    for node in itertools.islice(itertools.cycle(clients), _ROUNDS * len(wanted)):
        if wanted <= found.keys():
            break
        good = await _answered(plan, node)
        after = await _entries(plan, director)
        # One that was added meanwhile had none.
        moved = {place: n - before.get(place, (0, 0))[1] for place, (_, n) in after.items()}
        requests, before = requests + 1, after
        if good and not any(moved.values()):
            past += 1
        # With others on the service it may not be told; then the next one may tell.
        got = [place for place, more in moved.items() if more == 1]
        if len(got) == 1 and sum(map(abs, moved.values())) == 1:
            found[got[0]] = good and found.get(got[0], True)
        elif not good:
            lost += 1
    said = {True: None, False: f"did not answer in {_TIMEOUT_S} s"}
    names = _names(plan, wanted | found.keys())
    servers = {names[place]: said[found[place]] for place in sorted(found)}
    untold = tuple(names[place] for place in sorted(wanted - found.keys()))
    service = f"{plan.service.vip}:{plan.service.port}"
    return Reach(service, servers, untold, requests, past, lost)


def _names(plan: Plan, places: Collection[_Place]) -> dict[_Place, str]:
    """Call a destination by its real server, and by its port too where that has several."""
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
    if "no tool to ask" in text:
        raise NotPossible(f"{node.name}: no tool to ask with: apt install nghttp2-client")
    return client.answered(text)


async def _entries(plan: Plan, director: Node) -> dict[_Place, tuple[int, int]]:
    """Return each destination's weight and entries in the connection table."""
    table = await director.run(_TABLE, most_bytes=remote.DOCUMENT_BYTES)
    found = ours(ip_vs.parse_services(table), plan)
    if found is None:
        wanted = plan.service
        raise NotPossible(f"{director.name}: has no service {wanted.vip}:{wanted.port}")
    return {
        (each.address, each.port): (each.weight, each.active + each.inactive)
        for each in found.destinations
    }
