"""Connect to the nodes of a plan."""

from collections.abc import Iterable
from pathlib import Path

from dirtune import remote
from dirtune.errors import NodeUnreachable
from dirtune.plan.tables import Plan
from dirtune.remote import Node


async def connect(
    plan: Plan, hosts: Iterable[str]
) -> tuple[dict[str, Node], dict[str, NodeUnreachable]]:
    """Connect to *hosts* with the plan's ssh_config.

    Return the connected nodes, and the errors of the hosts that could not be reached, by host.
    """
    config = None if plan.ssh_config is None else Path(plan.ssh_config)
    return await remote.connect_all(tuple(hosts), ssh_config=config, become=plan.become)
