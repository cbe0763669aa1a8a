"""Derive the roles that a host plays, from its plan and its addresses."""

import re

from dirtune.snapshot import Role, Snapshot

_LOOPBACK = "127."
# Interfaces where a real server of DR or TUN has addresses for which it must not answer ARP.
_QUIET_INTERFACE = re.compile(r"(lo|(dummy|tunl|ip6tnl|gre|fou|gue|ipip|kube-ipvs)\d*)(:.*)?")


def roles(snapshot: Snapshot) -> tuple[Role, ...]:
    """Return the roles of this host, from its plan and the snapshot.

    A host with IPVS services is a director. If it has none of the services' addresses, it is also
    a backup. A host with an address other than 127.0.0.0/8 on loopback, a dummy or a tunnel is a
    real server. A host is a client only if the plan says so. Any other host has the role `host`.
    """
    played = [snapshot.place.role] if snapshot.place else []
    if snapshot.services:
        played += [Role.DIRECTOR, *([Role.BACKUP] if _holds_no_vip(snapshot) else [])]
    elif not played and held_quietly(snapshot):
        played.append(Role.REAL_SERVER)
    return tuple(dict.fromkeys(played)) or (Role.HOST,)


def held_quietly(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the IPv4 addresses on loopback, dummy and tunnel interfaces, except 127.0.0.0/8."""
    return tuple(
        held.address
        for held in snapshot.interface_addresses or ()
        if is_quiet(held.interface)
        and ":" not in held.address
        and not held.address.startswith(_LOOPBACK)
    )


def is_quiet(interface: str) -> bool:
    """Whether an interface may hold virtual addresses for which the host must not answer ARP."""
    return _QUIET_INTERFACE.fullmatch(interface) is not None


def _holds_no_vip(snapshot: Snapshot) -> bool:
    vips = {s.address for s in snapshot.services or () if s.address is not None}
    return bool(vips) and snapshot.addresses is not None and not vips & snapshot.addresses
