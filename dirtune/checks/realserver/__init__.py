"""Checks of real servers, and the helper functions that they share."""

from ipaddress import IPv4Network

from dirtune.checks import Cause, inconclusive, not_applicable
from dirtune.checks.host_roles import held_quietly, is_quiet
from dirtune.collect.addresses import InterfaceAddress
from dirtune.collect.ip_vs import Forward
from dirtune.collect.net import Interface
from dirtune.snapshot import Snapshot

UNPLANNED = inconclusive(
    "the director's forwarding method is unknown: run `dirtune audit --cluster PLAN`",
    Cause.NOT_COMPARED,
)
UNTUNNELLED = not_applicable("the director does not reach this host through a tunnel")
_TUNNEL_TYPES = frozenset({768, 769, 778, 823})  # IPIP, IP6TNL, GRE and GRE over IPv6
_TUNNEL_NAMES = ("tunl", "ip6tnl", "gre", "ip6gre", "fou", "gue", "ipip")
_FLAG_UP = 0x1
_ETHERNET = 1
_FLAG_NOARP = 0x80


def vips(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the virtual addresses from the plan; without a plan, those on quiet interfaces.

    Quiet interfaces are loopback, dummies and tunnels.
    """
    planned = snapshot.place.vips if snapshot.place else ()
    return planned or held_quietly(snapshot)


def forward(snapshot: Snapshot) -> Forward | None:
    """Return the director's forwarding method for this host; None if unknown."""
    return snapshot.place.forward if snapshot.place else None


def tunnelled(snapshot: Snapshot) -> bool | None:
    """Return whether the director tunnels to this host; None if unknown.

    Without a plan, the answer is True if a tunnel interface has a virtual address. A tunnel with
    routes does not count, because it belongs to a network such as Calico or a VPN.
    """
    if forward(snapshot) is not None:
        return forward(snapshot) == Forward.TUNNEL
    holders = {
        a.interface
        for a in snapshot.interface_addresses or ()
        if a.interface.startswith(_TUNNEL_NAMES)
    }
    if not holders:
        return None if snapshot.interface_addresses is None else False
    if snapshot.routes is None:
        return None
    return bool(holders - {route.interface for route in snapshot.routes})


def tunnels(snapshot: Snapshot) -> tuple[Interface, ...]:
    """Return the interfaces, up or down, that may receive a director's tunnelled packets."""
    return tuple(
        i
        for i in snapshot.interfaces or ()
        if (i.type in _TUNNEL_TYPES if i.type is not None else i.name.startswith(_TUNNEL_NAMES))
    )


def is_up(interface: Interface) -> bool | None:
    """Return whether an interface is administratively up; None if unknown."""
    return None if interface.flags is None else bool(interface.flags & _FLAG_UP)


def on_links(snapshot: Snapshot) -> dict[str, tuple[InterfaceAddress, ...]]:
    """Return the IPv4 addresses of each interface that takes part in ARP."""
    silent = {i.name for i in snapshot.interfaces or () if not _asks_arp(i)}
    links: dict[str, tuple[InterfaceAddress, ...]] = {}
    for address in snapshot.interface_addresses or ():
        if ":" in address.address or is_quiet(address.interface) or address.interface in silent:
            continue
        links[address.interface] = (*links.get(address.interface, ()), address)
    return links


def network(address: InterfaceAddress) -> IPv4Network:
    """Return the network of an IPv4 address on an interface."""
    return IPv4Network((address.address, address.prefix), strict=False)


def rules_with(snapshot: Snapshot, words: frozenset[str], modules: frozenset[str]) -> bool | None:
    """Return whether packet filter rules contain one of *words*; None if they could not be read.

    Such rules need one of *modules*. If the rules could not be read and none of *modules* is
    loaded, the answer is False.
    """
    seen = snapshot.rulesets
    rows = ((seen.nft or ()) + (seen.iptables or ())) if seen else ()
    if any(words & set(row.replace(";", " ").split()) for row in rows):
        return True
    if seen and seen.nft is not None and seen.iptables is not None:
        return False
    if snapshot.modules is None:
        return None
    return None if snapshot.modules.loaded & modules else False


def policy_routed(snapshot: Snapshot) -> bool | None:
    """Return whether `ip rule` lists more than the three default rules; None if unknown."""
    rows = snapshot.rulesets.routing if snapshot.rulesets else None
    if rows is None:
        return None
    return any(not row.endswith(("lookup local", "lookup main", "lookup default")) for row in rows)


def _asks_arp(interface: Interface) -> bool:
    if interface.flags is not None and interface.flags & _FLAG_NOARP:
        return False
    return interface.type in {None, _ETHERNET}
