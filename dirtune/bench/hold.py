"""Make temporary changes on nodes for one combination of the matrix, and undo them.

A shell on each node makes the change, reports success, waits until its input ends, and undoes the
change. The input ends on request, and also if the connection is lost because dirtune or its
machine died. Therefore no temporary change stays behind on a director.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from dirtune.bench.connecting import connect
from dirtune.bench.matrix import Hold
from dirtune.errors import NodeUnreachable, TrialError
from dirtune.plan.tables import Plan
from dirtune.remote import Node, Process
from dirtune.signals import to_the_end

_BEGIN_S = 60
_END_S = 30
# After the connection is lost, nobody reads the shell's output; SIGPIPE must not end the shell.
# If the change fails, the undo must not use a variable from the user's environment instead.
_SCRIPT = """\
unset dir null old
trap '' PIPE
undo() {{ trap '' TERM INT HUP; trap - EXIT; set +e; {undo}
}}
trap undo EXIT
trap 'exit 143' TERM INT HUP
set -e
exec 2>&1
{do}
echo held
set +e
read -r go
"""


@asynccontextmanager
async def held(plan: Plan, holds: Sequence[Hold]) -> AsyncIterator[None]:
    """Make the temporary changes *holds* on their nodes, and undo them at the end of the context.

    Raises `TrialError` with the reason if a change fails.
    """
    hosts = [hold.host for hold in holds]
    nodes, lost = await connect(plan, hosts)
    processes: list[Process] = []
    try:
        for error in lost.values():
            raise error
        for hold in holds:
            process = await _begin(nodes[hold.host], hold)
            processes.append(process)
        yield
    finally:
        await to_the_end(_end(processes, nodes))


async def _begin(node: Node, hold: Hold) -> Process:
    process = await node.start(_SCRIPT.format(do=hold.do, undo=hold.undo), guarded=False)
    last, until_s = "", time.monotonic() + _BEGIN_S
    try:
        while (line := await process.line(timeout_s=until_s - time.monotonic())) != "held":
            last = line
    except BaseException as error:
        await process.end(within_s=_END_S)
        if isinstance(error, NodeUnreachable) and node.alive:
            raise TrialError(f"{node.name}: {last or error}") from error
        raise
    return process


async def _end(processes: Sequence[Process], nodes: dict[str, Node]) -> None:
    for process in reversed(processes):
        try:
            await process.send("\n")
            await process.finish(timeout_s=_END_S)
        except NodeUnreachable:
            await process.end(within_s=_END_S)
    await asyncio.gather(*(node.close() for node in nodes.values()))
