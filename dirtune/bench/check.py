"""What `bench check` finds before anything starts: nodes, tools, budget, duration."""

import asyncio
from pathlib import Path

import msgspec

from dirtune import remote
from dirtune.bench.plan import Plan, estimate_s, warnings
from dirtune.errors import DirtuneError
from dirtune.remote import Node

_CLIENT = "command -v h2load >/dev/null || { echo 'apt install nghttp2-client' >&2; exit 1; }"
_DIRECTOR = "[ -r /proc/net/ip_vs_stats_percpu ] || { echo 'ip_vs is not loaded' >&2; exit 1; }"


class Readiness(msgspec.Struct, frozen=True):
    """Whether a plan can be carried out (`dirtune/bench-check/1`)."""

    nodes: dict[str, str | None]
    """Each node, and what is wrong with it; None if nothing is."""
    warnings: tuple[str, ...]
    sweep_trials: int
    sweep_s: float
    pairs_s: float
    """About how long the plan's pairs take."""
    schema: str = "dirtune/bench-check/1"

    @property
    def ready(self) -> bool:
        """Whether every node is."""
        return all(problem is None for problem in self.nodes.values())


async def check(plan: Plan) -> Readiness:
    """Reach every node and look for what it needs."""
    config = None if plan.ssh_config is None else Path(plan.ssh_config)
    nodes, lost = await remote.connect_all(plan.hosts, ssh_config=config)
    try:
        problems = await asyncio.gather(*(_problem(plan, node) for node in nodes.values()))
    finally:
        await asyncio.gather(*(node.close() for node in nodes.values()))
    found = dict(zip(nodes, problems, strict=True)) | {h: str(e) for h, e in lost.items()}
    sweep = len(plan.load.rates) * plan.load.repeats
    return Readiness(
        nodes={host: found[host] for host in plan.hosts},
        warnings=warnings(plan),
        sweep_trials=sweep,
        sweep_s=estimate_s(plan, sweep),
        pairs_s=estimate_s(plan, 2 * plan.load.pairs),
    )


async def _problem(plan: Plan, node: Node) -> str | None:
    clients = {client.host for client in plan.clients}
    needs = [_DIRECTOR] if node.name == plan.director.host else []
    needs += [_CLIENT] if node.name in clients else []
    try:
        for script in needs:
            await node.run(script)
    except DirtuneError as error:
        return str(error)
    return None
