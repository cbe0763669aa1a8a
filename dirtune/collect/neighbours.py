"""/proc/net/stat/arp_cache and ndisc_cache, and /proc/net/arp: the neighbour tables.

Format: net/core/neighbour.c, neigh_stat_seq_show(), like /proc/net/stat/nf_conntrack. `entries`
counts all network namespaces together. /proc/net/arp (net/ipv4/arp.c, arp_seq_show()) has a row
for each IPv4 neighbour in this network namespace, with hexadecimal flags.
"""

import contextlib
from collections.abc import Mapping

from dirtune.collect.conntrack import parse_stat_table
from dirtune.collect.files import hexadecimal
from dirtune.errors import ParseError, SourceMissing
from dirtune.host import Host

SOURCE = "/proc/net/stat/arp_cache"
SOURCE_V6 = "/proc/net/stat/ndisc_cache"
SOURCE_ARP = "/proc/net/arp"
SOURCES = (SOURCE, SOURCE_V6, SOURCE_ARP)
_PERMANENT = 0x4  # ATF_PERM


def read_neighbours(host: Host) -> Mapping[str, Mapping[str, int]]:
    """Read the tables `ipv4` and `ipv6`; `ipv6` is absent if IPv6 is disabled.

    `permanent` is the number of entries that an administrator or a program added; these do not
    count towards the limit of the table. For IPv6, or if the number is unknown, `permanent` is
    absent.
    """
    tables = {"ipv4": dict(parse_stat_table(SOURCE, host.read(SOURCE)))}
    with contextlib.suppress(SourceMissing):
        tables["ipv4"]["permanent"] = parse_permanent(host.read(SOURCE_ARP))
    try:
        return tables | {"ipv6": parse_stat_table(SOURCE_V6, host.read(SOURCE_V6))}
    except SourceMissing:
        return tables


def parse_permanent(text: str) -> int:
    """Return the number of permanent entries in the text of /proc/net/arp."""
    head, *rows = text.splitlines() or [""]
    if not head.startswith("IP address"):
        raise ParseError(SOURCE_ARP, "the header row that begins with 'IP address' is missing")
    try:
        flags = (row.split()[2].removeprefix("0x") for row in rows if row.strip())
        return sum(bool(hexadecimal(text) & _PERMANENT) for text in flags)
    except (ValueError, IndexError) as error:
        raise ParseError(SOURCE_ARP, f"a row lacks hexadecimal flags: {error}") from error
