"""Find out from the director's connection table if others use the service under test."""

import asyncio
import shlex
import time
from collections.abc import Mapping

from dirtune import remote
from dirtune.bench import director_table
from dirtune.collect import ip_vs
from dirtune.errors import NotPossible
from dirtune.plan.tables import Plan
from dirtune.remote import Node, together


async def foreign(
    nodes: Mapping[str, Node], plan: Plan, *, patience_s: int = director_table.LEFTOVERS_S
) -> str | None:
    """Describe how others use the service under test; None if nobody else uses it.

    dirtune sends no requests while this function runs. *nodes* holds the director and the
    connected clients, by host. The connection table is read when it is idle and small, after
    *patience_s* seconds at most.
    """
    director, began = nodes[plan.director.host], time.monotonic()
    before = now = await _use(director, plan)
    while before is not None and now is not None:
        passed = round(time.monotonic() - began)
        if passed >= director_table.WATCH_S:
            new = now.connections - before.connections
            if new > 0:
                return f"{new} new connections in {passed} s"
            if now.entries <= director_table.LOOK_MAX:
                break
            if passed >= patience_s:
                return f"the connection table has {now.entries} entries, too many to check"
        await asyncio.sleep(1)
        now = await _use(director, plan)
    if now is None or not now.entries:
        return None  # if the service is missing, the first request will report the problem
    script = director_table.CLIENT_SCRIPT.format(vip=shlex.quote(plan.service.vip or ""))
    clients = [client for client in plan.clients if client.host in nodes]
    most = remote.FETCHED_BYTES  # a client may hold 400,000 connections
    texts = await together(nodes[client.host].run(script, most_bytes=most) for client in clients)
    sockets = dict(zip((client.label for client in clients), texts, strict=True))
    table = await director.run(("cat", ip_vs.CONN_SOURCE), most_bytes=most)
    return director_table.foreign(table, sockets, plan)


async def _use(node: Node, plan: Plan) -> director_table.Use | None:
    sources = (ip_vs.SOURCE, ip_vs.PERCPU_SOURCE)
    try:
        services, counters = [
            await node.run(("cat", source), most_bytes=remote.DOCUMENT_BYTES) for source in sources
        ]
    except NotPossible:  # ip_vs is not loaded on the director, which the trial will report
        return None
    return director_table.use(services, counters, plan)
