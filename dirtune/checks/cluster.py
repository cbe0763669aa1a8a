"""Each node's place in a cluster: its role, and how the director forwards to it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from dirtune.checks.realserver import rules_with
from dirtune.collect.ip_vs import Forward
from dirtune.snapshot import Place, Role, Snapshot

_SOURCE_NAT = frozenset({"MASQUERADE", "SNAT", "masquerade", "snat"})
_NAT_MODULES = frozenset({"nf_nat", "iptable_nat", "ip_tables", "nf_tables", "nft_masq"})
# The forwarding methods; those that need most settings on a real server come first.
_DEMANDING = (Forward.TUNNEL, Forward.ROUTE, Forward.MASQ)


def places(
    director: Snapshot | None, nodes: Mapping[str, Snapshot], planned: Mapping[str, Place]
) -> Mapping[str, Place]:
    """Return the role and forwarding method of every node, by name.

    A node with the address of a destination in the *director*'s IPVS table is a real server, with
    the forwarding method in the table, whatever its *planned* place. Other nodes keep their
    planned place.
    """
    derived = dict(planned)
    for name, node in nodes.items():
        served = _served(director, node) if director and node is not director else None
        if served is not None:
            derived[name] = replace(
                derived.get(name, served),
                vips=served.vips,
                forward=served.forward,
                others=served.others,
            )
    clients = frozenset(
        address
        for name, place in derived.items()
        if place.role == Role.CLIENT and name in nodes
        for address in own_addresses(nodes[name])
    )
    known = own_addresses(director) if director else frozenset()
    rewritten = source_nat(director) if director else None
    return {
        name: replace(
            place, director_addresses=known, client_addresses=clients, source_nat=rewritten
        )
        for name, place in derived.items()
    }


def own_addresses(snapshot: Snapshot) -> frozenset[str]:
    """Return the addresses at which other hosts can reach this host."""
    every = snapshot.addresses or frozenset()
    return frozenset(a for a in every if a != "::1" and not a.startswith(("127.", "fe80:")))


def source_nat(director: Snapshot) -> bool | None:
    """Return whether NAT rules may change the source of IPVS packets; None if unknown."""
    tracked = director.sysctl("net/ipv4/vs/conntrack")
    # Without this setting, NAT rules do not see the packets of IPVS.
    return False if tracked == 0 else rules_with(director, _SOURCE_NAT, _NAT_MODULES)


def _served(director: Snapshot, node: Snapshot) -> Place | None:
    """Return the place of *node* by the director's table; None if the table lacks the node."""
    uses = tuple(_uses(director, own_addresses(node)))
    ways = {how for how, _ in uses}
    forward = next((way for way in _DEMANDING if way in ways), None)
    if forward is None:
        return None
    vips = dict.fromkeys(vip for how, vip in uses if how == forward and vip is not None)
    return Place(Role.REAL_SERVER, tuple(vips), forward, others=frozenset(ways - {forward}))


def _uses(director: Snapshot, own: frozenset[str]) -> Iterator[tuple[Forward, str | None]]:
    for service in director.services or ():
        for destination in service.destinations:
            # A virtual address that a real server of DR also holds is not a destination.
            if destination.address in own:
                yield destination.forward, service.address
