"""Addresses of this network namespace, from /proc and from ip(8).

/proc/net/fib_trie is printed by net/ipv4/fib_trie.c, fib_trie_seq_show(). A leaf `|-- ADDRESS`
followed by `/32 host LOCAL` is an address of this host; a leaf followed by a shorter prefix, `/24
host LOCAL`, is a network that belongs to loopback. /proc/net/if_inet6 is printed by
net/ipv6/addrconf.c, if6_seq_show(): each row begins with 32 hexadecimal digits. Only ip(8) shows
which interface an IPv4 address is on: `ip -o addr show`.
"""

import ipaddress
import re
from dataclasses import dataclass

from dirtune.collect.commands import IP_ADDR, output, spelled
from dirtune.errors import ParseError, SourceMissing
from dirtune.formats import parsing
from dirtune.host import Host

SOURCE = "/proc/net/fib_trie"
SOURCE_V6 = "/proc/net/if_inet6"
SOURCES = (SOURCE, SOURCE_V6, IP_ADDR)

# The lower interface in `NAME@LOWER`; NAME itself may contain an @.
_PEER = re.compile(r"@(if[0-9]+|NONE)$")
# A leaf's rows directly follow it, so the pattern reads each row only once.
_LEAF = re.compile(r"^[ \t]*\|-- (?P<address>[\d.]+)[ \t]*\n[ \t]+/32 host LOCAL", re.MULTILINE)
_NETWORK = re.compile(
    r"^[ \t]*\|-- (?P<address>[\d.]+)[ \t]*\n(?:[ \t]+/\d+ .*\n)*?[ \t]+/(?P<bits>\d+) host LOCAL",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """One address on one interface."""

    interface: str
    address: str
    prefix: int
    """Prefix length of the network in bits."""
    scope: str
    """global, link, host."""


def read_addresses(host: Host) -> frozenset[str]:
    """Read this host's IPv4 and IPv6 addresses; IPv6 may be disabled."""
    found = parse_fib_trie(host.read(SOURCE))
    try:
        return found | parse_if_inet6(host.read(SOURCE_V6))
    except SourceMissing:
        return found


def read_local_networks(host: Host) -> frozenset[ipaddress.IPv4Network]:
    """Read the networks whose every address belongs to this host, such as 127.0.0.0/8."""
    return parse_local_networks(host.read(SOURCE))


def read_interface_addresses(host: Host) -> tuple[InterfaceAddress, ...]:
    """Read the output of `ip -o addr show`. Raises `SourceMissing` if the record lacks it."""
    return parse_ip_addr(output(host, IP_ADDR))


@parsing(SOURCE)
def parse_fib_trie(text: str) -> frozenset[str]:
    """Return the local IPv4 addresses in the text of fib_trie."""
    return frozenset(found["address"] for found in _LEAF.finditer(text))


@parsing(SOURCE)
def parse_local_networks(text: str) -> frozenset[ipaddress.IPv4Network]:
    """Return the local networks of more than one address in the text of fib_trie."""
    found = (ipaddress.IPv4Network(f"{n['address']}/{n['bits']}") for n in _NETWORK.finditer(text))
    return frozenset(network for network in found if network.prefixlen < 32)


def parse_if_inet6(text: str) -> frozenset[str]:
    """Return the IPv6 addresses in the text of if_inet6."""
    rows = (row.split() for row in text.splitlines())
    try:
        return frozenset(str(ipaddress.IPv6Address(int(row[0], 16))) for row in rows if row)
    except ValueError as error:
        raise ParseError(SOURCE_V6, "a row does not begin with 32 hexadecimal digits") from error


@parsing(spelled(IP_ADDR))
def parse_ip_addr(text: str) -> tuple[InterfaceAddress, ...]:
    """Parse the text of `ip -o addr show`: `2: eth0 inet 198.18.0.1/24 ... scope global eth0`."""
    addresses = []
    for row in text.splitlines():
        cells = row.split()
        if len(cells) < 4 or cells[2] not in {"inet", "inet6"}:
            continue
        # A point-to-point address is printed as `inet ADDRESS peer PEER/32`.
        address, _, bits = cells[3].partition("/")
        peer = cells[5].partition("/")[2] if cells[4:5] == ["peer"] and len(cells) > 5 else ""
        scope = cells[cells.index("scope") + 1] if "scope" in cells[:-1] else "global"
        whole = "32" if cells[2] == "inet" else "128"
        length = bits or peer or whole
        if not length.isdecimal():
            why = f"{row[:60]!r}: {length!r} is not a prefix length"
            raise ParseError(spelled(IP_ADDR), why)
        if "%" in address:  # ipaddress accepts any text after % as a zone index
            why = f"{row[:60]!r}: the address has a zone index, which ip(8) never prints"
            raise ParseError(spelled(IP_ADDR), why)
        address = str(ipaddress.ip_address(address))
        addresses.append(InterfaceAddress(_PEER.sub("", cells[1]), address, int(length), scope))
    return tuple(addresses)
