"""/proc/net/stat/arp_cache and ndisc_cache: the neighbour tables.

Format: net/core/neighbour.c, neigh_stat_seq_show(): as /proc/net/stat/nf_conntrack. `entries` is
of all network namespaces together.
"""

from collections.abc import Mapping

from dirtune.collect.conntrack import parse_stat_table
from dirtune.errors import SourceMissing
from dirtune.host import Host

SOURCE = "/proc/net/stat/arp_cache"
SOURCE_V6 = "/proc/net/stat/ndisc_cache"
SOURCES = (SOURCE, SOURCE_V6)


def read_neighbours(host: Host) -> Mapping[str, Mapping[str, int]]:
    """Read the tables, by `ipv4` and `ipv6` as sysctl names them; IPv6 may be switched off."""
    tables = {"ipv4": parse_stat_table(SOURCE, host.read(SOURCE))}
    try:
        return tables | {"ipv6": parse_stat_table(SOURCE_V6, host.read(SOURCE_V6))}
    except SourceMissing:
        return tables
