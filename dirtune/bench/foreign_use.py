"""The use of the service under test by others, as its director's table shows it."""

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
    """Return what uses the service while we send nothing, in words; None for nothing.

    *nodes* by host: the director, and those of the clients that were reached. The table is looked
    at when it rests and is small, for which it is waited at most *patience_s*.
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
                return f"{now.entries} entries, too many to look at whose they are"
        await asyncio.sleep(1)
        now = await _use(director, plan)
    if now is None or not now.entries:
        return None  # where there is no such service the first request will say so
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
    except NotPossible:  # ip_vs is not loaded there, which the trial will say
        return None
    return director_table.use(services, counters, plan)
