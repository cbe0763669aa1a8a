"""The place of each node in a cluster, derived from the director and the plan."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from dirtune.checks.realserver import rules_with
from dirtune.collect.ip_vs import Forward
from dirtune.snapshot import Place, Role, Snapshot

_SOURCE_NAT = frozenset({"MASQUERADE", "SNAT", "masquerade", "snat"})
_NAT_MODULES = frozenset({"nf_nat", "iptable_nat", "ip_tables", "nf_tables", "nft_masq"})
# The forwarding methods, beginning with the one that demands most of a real server.
_DEMANDING = (Forward.TUNNEL, Forward.ROUTE, Forward.MASQ)


def places(
    director: Snapshot | None, nodes: Mapping[str, Snapshot], planned: Mapping[str, Place]
) -> Mapping[str, Place]:
    """Return the place of every node, by name.

    The IPVS table of the *director*, which is one of *nodes*, takes precedence over the *planned*
    places: a node that holds the address of a destination is a real server, reached by the table's
    forwarding method.
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
    """Return whether NAT rules may rewrite the source of IPVS packets; None if unknown."""
    tracked = director.sysctl("net/ipv4/vs/conntrack")
    # Without this setting, NAT rules do not see the packets of IPVS.
    return False if tracked == 0 else rules_with(director, _SOURCE_NAT, _NAT_MODULES)


def _served(director: Snapshot, node: Snapshot) -> Place | None:
    """Return the place of *node* in the director's table; None if the table lacks the node."""
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
