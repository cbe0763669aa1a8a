"""What a plan says of its nodes, as an audit of the whole cluster takes them."""

import math
from collections.abc import Iterator
from pathlib import Path

from dirtune import plan
from dirtune.collect.ip_vs import Forward
from dirtune.jobs.snapshots import Source
from dirtune.plan.tables import Plan
from dirtune.snapshot import Place, Role

_FORWARD = {"nat": Forward.MASQ, "dr": Forward.ROUTE, "tun": Forward.TUNNEL}


def read(path: Path) -> Plan:
    """Read the plan of a cluster."""
    return plan.read(path)


def sources(asked: Plan, interval: float) -> tuple[Source, ...]:
    """Return every node of the plan, the director first: it alone has a dirtune for probes."""
    become = {peer.host for peer in (*asked.real_servers, *asked.clients) if peer.become}
    become |= {asked.director.host} if asked.director.become else set()
    config = Path(asked.ssh_config) if asked.ssh_config else None
    return tuple(
        Source(
            host=host,
            ssh_config=config,
            interval=interval,
            become=host in become,
            dirtune=asked.director.dirtune if host == asked.director.host else None,
        )
        for host in asked.hosts
    )


def places(asked: Plan) -> dict[str, Place]:
    """Return what the plan says of every node's part, by its ssh name."""
    found = {asked.director.host: Place(Role.DIRECTOR)}
    for peer in asked.real_servers:
        uses = tuple(_uses(asked, peer.label, peer.address))
        vips = tuple(dict.fromkeys(vip for vip, _ in uses if vip is not None))
        found[peer.host] = Place(Role.REAL_SERVER, vips, uses[0][1] if uses else None)
    rate = max(asked.load.rates) / len(asked.clients)
    held = math.ceil(rate * asked.load.timeout_s)
    for peer in asked.clients:
        found[peer.host] = Place(Role.CLIENT, rate=rate, concurrency=held)
    return found


def _uses(asked: Plan, label: str, address: str | None) -> Iterator[tuple[str | None, Forward]]:
    for service in asked.services:
        for each in service.destinations:
            if label == each.node or (address is not None and address == each.address):
                yield service.vip, _FORWARD[each.forwarding]
