"""/proc/net/route: the main IPv4 routing table.

Format: net/ipv4/fib_trie.c, fib_route_seq_show(): addresses are hexadecimal in the host's byte
order, which reverses the four numbers on little-endian machines. The column MTU is the route's
advmss plus 40, or 0 if the route sets no advmss. The file contains neither the routes of other
tables nor the rules of `ip rule`.
"""

import ipaddress
import sys
from dataclasses import dataclass
from functools import lru_cache

from dirtune.collect.files import decimal, hexadecimal
from dirtune.collect.identity import Same
from dirtune.errors import ParseError
from dirtune.formats import parsing
from dirtune.host import Host

SOURCE = "/proc/net/route"
SOURCES = (SOURCE,)
_GATEWAY = 2
_HEADERS_BYTES = 40


@dataclass(frozen=True, slots=True)
class Route:
    """One route."""

    interface: str
    network: ipaddress.IPv4Network
    gateway: str | None
    """Address of the gateway; None if the network is directly connected."""
    metric: int
    advmss: int | None = None
    """TCP segment size announced to peers, in bytes; None if the route sets none."""


def read_routes(host: Host) -> tuple[Route, ...]:
    """Read the routes of this network namespace."""
    return parse_routes(host.read(SOURCE))


@parsing(SOURCE)
def parse_routes(text: str) -> tuple[Route, ...]:
    """Parse the text of /proc/net/route; blackhole and unreachable routes (`*`) are left out."""
    rows = [row.split() for row in text.splitlines() if row.strip()]
    if not rows or rows[0][:3] != ["Iface", "Destination", "Gateway"]:
        raise ParseError(SOURCE, "the header row that begins with 'Iface' is missing")
    return tuple(_route(row) for row in rows[1:] if row[0] != "*")


def route_to(routes: tuple[Route, ...], address: str) -> Route | None:
    """Return the route that the kernel uses for *address*: longest prefix, then lowest metric."""
    target = ipaddress.ip_address(address)
    if target.version != 4:
        return None
    best = _best(Same(routes))
    networks = ((length, int(target) >> (32 - length)) for length in range(32, -1, -1))
    return next((best[network] for network in networks if network in best), None)


@lru_cache(maxsize=1)
def _best(routes: Same[tuple[Route, ...]]) -> dict[tuple[int, int], Route]:
    """Return the route with the lowest metric to each network.

    The key is the prefix length and the prefix itself, as a number of that many bits.
    """
    best: dict[tuple[int, int], Route] = {}
    for route in sorted(routes.value, key=lambda route: route.metric):
        length = route.network.prefixlen
        best.setdefault((length, int(route.network.network_address) >> (32 - length)), route)
    return best


def _route(row: list[str]) -> Route:
    flags = hexadecimal(row[3])
    network = ipaddress.IPv4Network((_address(row[1]), str(_address(row[7]))))
    gateway = str(_address(row[2])) if flags & _GATEWAY else None
    advmss = decimal(row[8]) - _HEADERS_BYTES
    return Route(row[0], network, gateway, decimal(row[6]), advmss if advmss > 0 else None)


def _address(text: str) -> ipaddress.IPv4Address:
    # This assumes that a recorded host has the byte order of the machine that reads the record.
    return ipaddress.IPv4Address(hexadecimal(text).to_bytes(4, sys.byteorder))
