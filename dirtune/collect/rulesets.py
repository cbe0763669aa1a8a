"""Packet filter rules, routing rules and queueing disciplines, as their commands print them.

Only rules whose modules are already loaded are listed. The rules stay text; the checks interpret
them.
"""

from dataclasses import dataclass

from dirtune.collect.commands import ARPTABLES, IP_RULE, IPTABLES, NFT, QDISC, output
from dirtune.errors import SourceMissing
from dirtune.host import Host

SOURCES = (NFT, IPTABLES, IP_RULE, QDISC, ARPTABLES)


@dataclass(frozen=True, slots=True)
class Rulesets:
    """The rows that each tool printed; None if the tool was not run or failed."""

    nft: tuple[str, ...] | None
    iptables: tuple[str, ...] | None
    routing: tuple[str, ...] | None
    """Rows of `ip rule show`."""
    qdiscs: tuple[str, ...] | None
    """Rows of `tc -s qdisc show`."""
    arptables: tuple[str, ...] | None = None


def read_rulesets(host: Host) -> Rulesets:
    """Read the rules. Raises `SourceMissing` if the output of every tool is missing."""
    found = Rulesets(*(_rows(host, path) for path in SOURCES))
    if found == Rulesets(None, None, None, None):
        raise SourceMissing(
            "the outputs of nft, iptables-save, arptables-save, ip and tc are all missing"
        )
    return found


def _rows(host: Host, path: str) -> tuple[str, ...] | None:
    try:
        return tuple(row.strip() for row in output(host, path).splitlines() if row.strip())
    except SourceMissing:
        return None
