"""Packet filter rules as nft(8), iptables-save(8) and arptables-save(8) list them; ip(8)'s rules.

Only what is already loaded is listed. The text is kept: what a rule means to a virtual service is
for the checks to say.
"""

from dataclasses import dataclass

from dirtune.collect.commands import ARPTABLES, IP_RULE, IPTABLES, NFT, QDISC, output
from dirtune.errors import SourceMissing
from dirtune.host import Host

SOURCES = (NFT, IPTABLES, IP_RULE, QDISC, ARPTABLES)


@dataclass(frozen=True, slots=True)
class Rulesets:
    """Rules as the tools print them, a row each; None where a tool was not or not to be asked."""

    nft: tuple[str, ...] | None
    iptables: tuple[str, ...] | None
    routing: tuple[str, ...] | None
    """`ip rule show`."""
    qdiscs: tuple[str, ...] | None
    """`tc -s qdisc show`."""
    arptables: tuple[str, ...] | None = None


def read_rulesets(host: Host) -> Rulesets:
    """Read them; `SourceMissing` where not one could be asked."""
    found = Rulesets(*(_rows(host, path) for path in SOURCES))
    if found == Rulesets(None, None, None, None):
        raise SourceMissing("no output of nft, iptables-save, arptables-save, ip and tc")
    return found


def _rows(host: Host, path: str) -> tuple[str, ...] | None:
    try:
        return tuple(row.strip() for row in output(host, path).splitlines() if row.strip())
    except SourceMissing:
        return None
