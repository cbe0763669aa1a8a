"""Checks of connection tracking, and the helper functions that they share."""

import bisect
import functools
import ipaddress
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dirtune.checks import Fix, Risk
from dirtune.checks.ipvs import vips
from dirtune.checks.once import once
from dirtune.checks.owners import TRACKING, owner
from dirtune.collect.ip_vs import Forward
from dirtune.competitors import competitors
from dirtune.snapshot import Snapshot

COUNT, MOST, BUCKETS = (
    f"net/netfilter/nf_conntrack_{name}" for name in ("count", "max", "buckets")
)
VS_CONNTRACK = "net/ipv4/vs/conntrack"
_COMMENT = re.compile(r'(?:--)?comment "[^"]*"|--comment \S+')
# Objects, such as helpers and counters, that rules may use; these are not rules.
_NFT_OBJECT = re.compile(r"ct (?:helper|timeout|expectation) \S+ \{|counter .* \{")
_NFT_TRACKS = re.compile(
    r"\bct \w+|\b(?:masquerade|snat|dnat|redirect)\b|\bflow add @|\bsynproxy\b"
    r'|\bxt (?:match|target) "(?:conn\w+|state|helper|MASQUERADE|[SD]NAT|REDIRECT|NETMAP|CONN\w+)"'
)
_IPTABLES_TRACKS = re.compile(
    r"-m (?:conn\w+|state|helper|cluster)\b"
    r"|-j (?:MASQUERADE|SNAT|DNAT|REDIRECT|NETMAP|CONN\w+|SYNPROXY|CT)\b"
)
_EXEMPTS = re.compile(r'\bnotrack\b|--notrack\b|-j NOTRACK\b|xt target "NOTRACK"')
_STATE = re.compile(r'\bct state\b|-m (?:state|conntrack)\b|xt match "(?:state|conntrack)"')
_REFUSES = re.compile(
    r"\bpolicy drop\b|\b(?:drop|reject)\b|-j (?:DROP|REJECT)\b|^:(?:INPUT|FORWARD) DROP"
)
_DESTINATION = re.compile(
    r"(?:\bip6? daddr |(?<!\S)(?P<negated>! )?-d )(?P<other>!= )?(?P<where>[0-9a-fA-F.:/]+)"
)
_LOOPBACK = re.compile(r'(?:-i|-o) lo\b|\b[io]if(?:name)? "lo"')
_IPTABLES_MODULES = tuple(f"iptable_{name}" for name in ("filter", "nat", "mangle", "raw"))


@dataclass(frozen=True, slots=True)
class Rules:
    """The packet filter rules that involve connection tracking."""

    tracking: tuple[str, ...]
    """Rules that need connection tracking, and so turn it on for all packets of the namespace."""
    exempting: tuple[str, ...]
    """Rules that exempt packets from tracking (notrack)."""
    refuses: bool
    """Whether any rule or policy drops or rejects packets."""


@once
def rules(snapshot: Snapshot) -> Rules | None:
    """Return the rules that involve connection tracking; None if they could not be read."""
    rulesets = snapshot.rulesets
    nft, iptables = (rulesets.nft, rulesets.iptables) if rulesets else (None, None)
    loaded = snapshot.modules.loaded if snapshot.modules else None
    if nft is None and (loaded is None or "nf_tables" in loaded):
        return None
    if iptables is None and (loaded is None or loaded & set(_IPTABLES_MODULES)):
        return None
    rows = (*_nft(nft or ()), *(_COMMENT.sub("", row) for row in iptables or ()))
    exempting = tuple(row for row in rows if _EXEMPTS.search(row))
    tracking = tuple(
        row
        for row in rows
        if (_NFT_TRACKS if row[:1] != "-" else _IPTABLES_TRACKS).search(row)
        and not _EXEMPTS.search(row)
    )
    return Rules(tracking, exempting, any(_REFUSES.search(row) for row in rows))


def _nft(rows: tuple[str, ...]) -> Iterator[str]:
    for row in rows:
        bare = _COMMENT.sub("", row).strip()
        if not (_NFT_OBJECT.fullmatch(bare) or bare.startswith(("#", "table ", "chain ", "set "))):
            yield bare


def may_touch(row: str, addresses: frozenset[str]) -> bool:
    """Whether the text of a rule could match packets to one of *addresses*."""
    if _LOOPBACK.search(row):
        return False
    network = _network(row)
    if network is None:
        return True
    numbers = _numbers(addresses)[network.version]
    at = bisect.bisect_left(numbers, int(network.network_address))
    return at < len(numbers) and numbers[at] <= int(network.broadcast_address)


def _network(row: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """Return the network to which a rule limits destinations; None if it does not limit them."""
    destination = _DESTINATION.search(row)
    if not destination or destination["negated"] or destination["other"]:
        return None
    try:
        return ipaddress.ip_network(destination["where"], strict=False)
    except ValueError:  # a range or a set
        return None


@functools.lru_cache(maxsize=4)
def _numbers(addresses: frozenset[str]) -> Mapping[int, list[int]]:
    """Return *addresses* as sorted numbers, by the version of IP."""
    numbers: dict[int, list[int]] = {4: [], 6: []}
    for address in map(ipaddress.ip_address, addresses):
        numbers[address.version].append(int(address))
    return {version: sorted(of_version) for version, of_version in numbers.items()}


def stateful(found: Rules, addresses: frozenset[str]) -> bool:
    """Whether rules accept or refuse packets to *addresses* by the connection's state."""
    states = (row for row in found.tracking if _STATE.search(row))
    return found.refuses and any(may_touch(row, addresses) for row in states)


@once
def exempted(snapshot: Snapshot) -> frozenset[str]:
    """Return the virtual addresses to which rules exempt packets from tracking."""
    filters = rules(snapshot)
    rows = [row for row in filters.exempting if not _LOOPBACK.search(row)] if filters else []
    networks = set(map(_network, rows))
    if None in networks:
        return vips(snapshot)
    # The lengths of prefixes are few, so each address is looked up in each length.
    known = {(n.version, n.prefixlen, int(n.network_address)) for n in networks if n}
    lengths = {(version, length) for version, length, _ in known}
    return frozenset(
        address
        for address in vips(snapshot)
        for number in (ipaddress.ip_address(address),)
        if any(
            version == number.version and (version, length, _first(number, length)) in known
            for version, length in lengths
        )
    )


def _first(address: ipaddress.IPv4Address | ipaddress.IPv6Address, length: int) -> int:
    """Return the first address of the network of *length* that holds *address*."""
    host_bits = address.max_prefixlen - length
    return int(address) >> host_bits << host_bits


def stop_tracking(snapshot: Snapshot) -> tuple[Fix, ...]:
    """Return the fix that exempts packets of virtual services from connection tracking.

    There is none if the rules of the program that owns the services need the tracking.
    """
    if owner(snapshot) in TRACKING:
        return ()
    fix = Fix(
        "stop-tracking-services",
        "Stop tracking connections to virtual services. Stateful rules then no longer match "
        "them, so read the rules first and prepare a timed rollback",
        Risk.DISRUPTIVE,
        tuple(_stopping(snapshot)),
        competitors(snapshot, "ipvs"),
    )
    return (fix,)


def _stopping(snapshot: Snapshot) -> Iterator[str]:
    if snapshot.sysctl(VS_CONNTRACK):
        yield "sysctl -w 'net.ipv4.vs.conntrack=0'"
        yield "echo 'net.ipv4.vs.conntrack=0' >> /etc/sysctl.d/90-dirtune.conf"
    for family, addresses in _by_family(snapshot):
        chain = "prerouting '{ type filter hook prerouting priority -300; }'"
        yield shlex.join(("nft", "add", "table", family, "dirtune"))
        yield f"{shlex.join(('nft', 'add', 'chain', family, 'dirtune'))} {chain}"
        rule = shlex.join(("nft", "add", "rule", family, "dirtune", "prerouting"))
        for address in addresses:
            yield f"{rule} {shlex.join((family, 'daddr', address, 'notrack'))}"
        for server, port in _nat_servers(snapshot, family):
            row = f"{family} saddr {server} meta l4proto {{ tcp, udp }} th sport {port} notrack"
            yield f"{rule} {shlex.quote(row)}"


def _by_family(snapshot: Snapshot) -> Iterator[tuple[str, list[str]]]:
    for family, v6 in (("ip", False), ("ip6", True)):
        addresses = sorted(address for address in vips(snapshot) if (":" in address) is v6)
        if addresses:
            yield family, addresses


def _nat_servers(snapshot: Snapshot, family: str) -> list[tuple[str, int]]:
    """Return the addresses and ports of the real servers whose replies pass this host (NAT)."""
    return sorted(
        {
            (d.address, d.port)
            for s in snapshot.services or ()
            for d in s.destinations
            if d.forward == Forward.MASQ and (":" in d.address) is (family == "ip6")
        }
    )
