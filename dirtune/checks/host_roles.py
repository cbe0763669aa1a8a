"""Derive the roles that a host plays, from its plan and its addresses."""

import re
from ipaddress import ip_address, ip_network

from dirtune.collect.addresses import InterfaceAddress
from dirtune.snapshot import Role, Snapshot

_LOOPBACK = "127."
KUBE_PROXY_INTERFACE = "kube-ipvs"
"""The beginning of the name of the dummy on which kube-proxy keeps addresses."""
KUBE_ROUTER_INTERFACE = "kube-dummy-if"
_OF_KUBERNETES = (KUBE_PROXY_INTERFACE, KUBE_ROUTER_INTERFACE)
# Interfaces where a real server of DR or TUN has addresses for which it must not answer ARP.
_QUIET_INTERFACE = re.compile(
    r"(lo|(dummy|tunl|ip6tnl|gre|fou|gue|ipip|kube-ipvs)\d*|kube-dummy-if)(:.*)?"
)


def roles(snapshot: Snapshot) -> tuple[Role, ...]:
    """Return the roles of this host, from its plan and the snapshot.

    A host with IPVS services is a director. If it has none of the services' addresses, it is also
    a backup, and if it serves as well (see `serves_as_well`), also a real server. A host with an
    address other than 127.0.0.0/8 on loopback, a dummy or a tunnel is a real server. A host is a
    client only if the plan says so. Any other host has the role `host`.
    """
    played = [snapshot.place.role] if snapshot.place else []
    if snapshot.services:
        played += [Role.DIRECTOR, *([Role.BACKUP] if holds_no_vip(snapshot) else [])]
        played += [Role.REAL_SERVER] if serves_as_well(snapshot) else []
    elif not played and held_quietly(snapshot):
        played.append(Role.REAL_SERVER)
    return tuple(dict.fromkeys(played)) or (Role.HOST,)


def serves_as_well(snapshot: Snapshot) -> bool:
    """Whether a director also answers for virtual addresses that another director may hold.

    The sign is an address on a quiet interface, together with one of three facts: the interface
    belongs to kube-proxy or kube-router, a destination of the table is this host, or the address
    is no service's, but is in the network of one of the host's links, so another director
    balances it.
    """
    quiet = [a for a in snapshot.interface_addresses or () if _quiet(a)]
    if not quiet:
        return False
    if any(a.interface.startswith(_OF_KUBERNETES) for a in quiet):
        return True
    own = {d.address for s in snapshot.services or () for d in s.destinations}
    if own & (snapshot.addresses or frozenset()):
        return True
    vips = {s.address for s in snapshot.services or ()}
    links = [
        ip_network(f"{a.address}/{a.prefix}", strict=False)
        for a in snapshot.interface_addresses or ()
        if ":" not in a.address and not is_quiet(a.interface)
    ]
    others = (ip_address(a.address) for a in quiet if a.address not in vips)
    return any(address in link for address in others for link in links)


def held_quietly(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the IPv4 addresses on loopback, dummy and tunnel interfaces, except 127.0.0.0/8."""
    return tuple(held.address for held in snapshot.interface_addresses or () if _quiet(held))


def _quiet(held: InterfaceAddress) -> bool:
    """Whether *held* is an IPv4 address, not of 127.0.0.0/8, on a quiet interface."""
    return (
        is_quiet(held.interface)
        and ":" not in held.address
        and not held.address.startswith(_LOOPBACK)
    )


def is_quiet(interface: str) -> bool:
    """Whether an interface may hold virtual addresses for which the host must not answer ARP."""
    return _QUIET_INTERFACE.fullmatch(interface) is not None


def holds_no_vip(snapshot: Snapshot) -> bool:
    """Whether the host is known to hold none of its services' addresses."""
    vips = {s.address for s in snapshot.services or () if s.address is not None}
    return bool(vips) and snapshot.addresses is not None and not vips & snapshot.addresses
