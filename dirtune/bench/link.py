"""Measure the link between the first client and the first real server with NetPIPE.

NetPIPE sends messages of growing size back and forth, and writes the bytes, the rate and the time
of each size. NetPIPE's "Mbps" means 2^20 bits/s; dirtune converts the rate to bits/s.
"""

import asyncio
import shlex
from collections.abc import Iterator

from dirtune.analyse.run import LinkPoint
from dirtune.bench.connecting import connect
from dirtune.bench.matrix import address_of
from dirtune.errors import ParseError, TrialError
from dirtune.packages import shell_lacks
from dirtune.plan.tables import Plan
from dirtune.remote import Node

_LARGEST = 1 << 20
_MBIT = 1 << 20
_LIMIT_S = 300
_MISSING = f"command -v NPtcp >/dev/null || {{ {shell_lacks('NPtcp')}; exit 4; }}"
_LISTEN = f"""{_MISSING}
NPtcp -p 0 -u {_LARGEST} >/dev/null 2>&1 &
echo listening
read -r go
kill $! 2>/dev/null
"""
_SEND = """\
out=$(mktemp) && trap 'rm -f "$out"' EXIT
# The other side may not listen yet, though its shell has said so.
for try in 1 2 3 4 5; do
  NPtcp -h {address} -p 0 -u {largest} -o "$out" >/dev/null 2>&1 && break
  sleep 1
done
cat "$out"
"""


def parse(text: str) -> Iterator[LinkPoint]:
    """Yield the result for each message size from NetPIPE's output file.

    Raises `ParseError` if a line is malformed.
    """
    for number, line in enumerate(text.splitlines(), 1):
        try:
            size, rate, seconds = line.split()
            yield LinkPoint(int(size), float(rate) * _MBIT, float(seconds))
        except ValueError as error:
            raise ParseError(
                "NetPIPE", f"line {number} must hold bytes, rate and time: {line.strip()!r}"
            ) from error


async def measure(plan: Plan) -> tuple[LinkPoint, ...]:
    """Run NetPIPE, and return its result for each message size.

    Raises `TrialError` with the reason if the link cannot be measured.
    """
    first = plan.service.destinations[0]
    server = next((s for s in plan.real_servers if s.label == first.node), None)
    if server is None:
        raise TrialError("controls.link: the first destination must be a real server of the plan.")
    address = address_of(plan, first)
    hosts = (server.host, plan.clients[0].host)
    nodes, lost = await connect(plan, hosts)
    try:
        for error in lost.values():
            raise error
        return tuple(parse(await _sent(nodes[hosts[0]], nodes[hosts[1]], address)))
    finally:
        await asyncio.gather(*(node.close() for node in nodes.values()))


async def _sent(server: Node, client: Node, address: str) -> str:
    async with await server.start(_LISTEN, guarded=False) as listening:
        answer = await listening.line(timeout_s=_LIMIT_S)
        if answer != "listening":
            raise TrialError(f"{server.name}: {answer}")
        send = _SEND.format(address=shlex.quote(address), largest=_LARGEST)
        text = await client.run(f"{_MISSING}\n{send}", timeout_s=_LIMIT_S)
    if not text.strip():
        raise TrialError(f"NetPIPE on {client.name} could not reach {server.name} at {address}.")
    return text
