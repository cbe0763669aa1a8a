"""Find the nodes of a plan for an audit of the cluster: how to reach them, and their roles."""

import math
from collections.abc import Iterator
from pathlib import Path

from dirtune import plan as plans
from dirtune.collect.ip_vs import Forward
from dirtune.jobs.snapshots import Source
from dirtune.lvs.model import ChosenForwarding
from dirtune.plan.tables import Plan
from dirtune.snapshot import Place, Role

_FORWARD: dict[ChosenForwarding, Forward] = {
    "nat": Forward.MASQ,
    "dr": Forward.ROUTE,
    "tun": Forward.TUNNEL,
}


def read(path: Path) -> Plan:
    """Read the plan of a cluster."""
    return plans.read(path)


def sources(plan: Plan, interval: float) -> tuple[Source, ...]:
    """Return every node of the plan, the director first; only the director can be probed."""
    config = Path(plan.ssh_config) if plan.ssh_config else None
    backup = (plan.backup.host,) if plan.backup else ()
    return tuple(
        Source(
            host=host,
            ssh_config=config,
            interval=interval,
            become=host in plan.become,
            dirtune=plan.director.dirtune if host == plan.director.host else None,
        )
        for host in dict.fromkeys((plan.director.host, *backup, *plan.hosts))
    )


def places(plan: Plan) -> dict[str, Place]:
    """Return each node's part in the cluster according to the plan, by the node's SSH name."""
    placed = {plan.director.host: Place(Role.DIRECTOR)}
    if plan.backup:
        placed[plan.backup.host] = Place(Role.DIRECTOR)
    for peer in plan.real_servers:
        uses = tuple(_uses(plan, peer.label, peer.address))
        vips = tuple(dict.fromkeys(vip for vip, _ in uses if vip is not None))
        placed[peer.host] = Place(Role.REAL_SERVER, vips, uses[0][1] if uses else None)
    rate = max(plan.load.rates) / len(plan.clients)
    held = math.ceil(rate * plan.load.timeout_s)
    for peer in plan.clients:
        placed[peer.host] = Place(Role.CLIENT, rate=rate, concurrency=held)
    return placed


def _uses(plan: Plan, label: str, address: str | None) -> Iterator[tuple[str | None, Forward]]:
    for service in plan.services:
        for server in service.destinations:
            if label == server.node or (address is not None and address == server.address):
                yield service.vip, _FORWARD[server.forwarding]
