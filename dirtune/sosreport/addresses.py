"""Addresses from ip(8): `ip -o addr`, and `ip addr` as reports of insights have it."""

import ipaddress
import re
from collections.abc import Iterator

from dirtune.collect.commands import IP_ADDR
from dirtune.host import Host
from dirtune.sosreport.outputs import output

_ADDRESS = re.compile(r"\s+(?P<family>inet6?) (?P<address>[0-9a-f.:]{3,45})/(?P<bits>\d{1,3})\b")
_INTERFACE = re.compile(r"(?P<index>\d+): (?P<name>[^\s:]+):? ")


def translated(host: Host) -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each source that the addresses answer."""
    one_row_each = output(host, "ip_-o_addr", "ip_-o_addr_show")
    if one_row_each is None:
        blocks = output(host, "ip_addr", "ip_-d_address", "ip_address", "ip_addr_show")
        one_row_each = None if blocks is None else "\n".join(_joined(blocks))
    if not one_row_each:
        return
    yield IP_ADDR, one_row_each
    held_addresses = [
        match for row in one_row_each.splitlines() if (match := _ADDRESS.search(row))
    ]
    # Networks of lo belong to this host as a whole, as 127.0.0.0/8 does.
    whole = [row for row in one_row_each.splitlines() if re.match(r"\d+: lo\s", row)]
    yield "/proc/net/fib_trie", "".join(_leaves(held_addresses, whole))
    six = [ipaddress.IPv6Address(m["address"]) for m in held_addresses if _is(6, m["address"])]
    yield "/proc/net/if_inet6", "".join(f"{int(address):032x} 00 00 00 00 x\n" for address in six)


def _joined(blocks: str) -> Iterator[str]:
    """Yield one row for each address, as `ip -o addr` prints them."""
    name = ""
    for row in blocks.splitlines():
        interface = _INTERFACE.match(row)
        if interface:
            name = f"{interface['index']}: {interface['name']}"
        elif name and _ADDRESS.match(row):
            yield f"{name}    {row.strip()}"


def _leaves(held_addresses: list[re.Match[str]], loopback: list[str]) -> Iterator[str]:
    """Yield local IPv4 addresses and networks as leaves of fib_trie."""
    for match in held_addresses:
        if _is(4, match["address"]):
            yield f"  |-- {match['address']}\n     /32 host LOCAL\n"
    for row in loopback:
        held = _ADDRESS.search(row)
        if held and _is(4, held["address"]) and 0 < int(held["bits"]) < 32:
            network = ipaddress.ip_network(f"{held['address']}/{held['bits']}", strict=False)
            leaf = f"  |-- {network.network_address}\n     /{network.prefixlen} host LOCAL\n"
            yield leaf


def _is(version: int, address: str) -> bool:
    try:
        return ipaddress.ip_address(address).version == version
    except ValueError:
        return False
