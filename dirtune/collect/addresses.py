"""/proc/net/fib_trie and if_inet6: addresses this network namespace answers for.

Format: net/ipv4/fib_trie.c, fib_trie_seq_show(), where a local address is a leaf `|-- ADDRESS`
followed by `/32 host LOCAL`; net/ipv6/addrconf.c, if6_seq_show(), 32 hexadecimal digits a row.
"""

import ipaddress
import re

from dirtune.errors import SourceMissing
from dirtune.host import Host

SOURCE = "/proc/net/fib_trie"
SOURCE_V6 = "/proc/net/if_inet6"
SOURCES = (SOURCE, SOURCE_V6)

_LEAF = re.compile(r"\|-- (?P<address>[\d.]+)\s*\n\s+/32 host LOCAL")


def read_addresses(host: Host) -> frozenset[str]:
    """Read the addresses; IPv6 may be switched off."""
    found = parse_fib_trie(host.read(SOURCE))
    try:
        return found | parse_if_inet6(host.read(SOURCE_V6))
    except SourceMissing:
        return found


def parse_fib_trie(text: str) -> frozenset[str]:
    """Return the local IPv4 addresses in the text of fib_trie."""
    return frozenset(found["address"] for found in _LEAF.finditer(text))


def parse_if_inet6(text: str) -> frozenset[str]:
    """Return the IPv6 addresses in the text of if_inet6."""
    rows = (row.split() for row in text.splitlines())
    return frozenset(str(ipaddress.IPv6Address(int(row[0], 16))) for row in rows if row)
