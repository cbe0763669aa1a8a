from collections.abc import Iterator
from ipaddress import IPv4Address

from dirtune.checks import (
    Finding,
    Fix,
    Risk,
    Role,
    Severity,
    Undecided,
    Verdicts,
    check,
    inconclusive,
    not_applicable,
)
from dirtune.checks.realserver import UNPLANNED, policy_routed
from dirtune.checks.remedies import commands
from dirtune.collect.ip_vs import Forward
from dirtune.collect.routes import Route, route_to
from dirtune.snapshot import Place, Snapshot

_ANYWHERE = "0.0.0.0"  # noqa: S104  (the network of the default route, nothing listens)


@check(
    "realserver/nat-gateway",
    severity=Severity.CRITICAL,
    trust="A",
    needs=("routes",),
    roles=(Role.REAL_SERVER,),
)
def nat_gateway(snapshot: Snapshot) -> Verdicts:
    """A real server behind NAT does not send its replies through the director.

    ## What it does
    The check examines real servers that the director reaches by NAT (`Masq`). It looks up the
    route to every client in the cluster or, if no client is known, the default route. It reports a
    route whose next hop is not one of the director's addresses. The check is inconclusive in three
    cases. First, the director may also rewrite source addresses (full NAT: it has such rules, and
    `net.ipv4.vs.conntrack` is not 0). Second, `ip rule` lists more than the usual three rules.
    Third, the default route leads elsewhere, but other networks are routed through the director.

    ## Why it matters
    The replies reach the client with the real server's own address as their source. The client has
    no connection with that address, so it answers with a reset. On the director, IPVS counts
    incoming packets but no outgoing ones.

    ## Remediation
    Make the director's inside address the default gateway; with two directors, use the address
    that VRRP moves. The change may cut off your own session, so prepare a rollback.

    ## Known problems
    The check does not read other routing tables and IPv6 routes.

    ## References
    - LVS-HOWTO, LVS-NAT
    """
    place = snapshot.place
    if place is None or place.forward is None or not place.director_addresses:
        yield UNPLANNED
    elif Forward.MASQ not in {place.forward, *place.others}:
        yield not_applicable("the director does not reach this host by NAT")
    elif place.source_nat:
        yield inconclusive(
            "the director has rules that rewrite source addresses, and they may match the packets "
            "that it forwards to this host"
        )
    else:
        yield from _judged(snapshot, place)


def _judged(snapshot: Snapshot, place: Place) -> Iterator[Finding | Undecided]:
    routes = snapshot.routes or ()
    clients = sorted(a for a in place.client_addresses if ":" not in a)
    wrong = {
        client: route_to(routes, client)
        for client in clients or [_ANYWHERE]
        if not _through(route_to(routes, client), place)
    }
    if not wrong:
        return
    if place.source_nat is None and not clients:
        yield inconclusive("the director's rules are unknown, and may rewrite source addresses")
    elif policy_routed(snapshot) is not False:
        yield inconclusive("`ip rule` lists more than its usual three rules, or could not be read")
    elif not clients and any(_through(route, place) for route in routes):
        yield inconclusive(
            "some networks are routed through the director, and clients may be in them"
        )
    else:
        yield _finding(snapshot, place, wrong)


def _through(route: Route | None, place: Place) -> bool:
    return route is not None and route.gateway in place.director_addresses


def _finding(snapshot: Snapshot, place: Place, wrong: dict[str, Route | None]) -> Finding:
    to, route = next(iter(wrong.items()))
    name = "The default route" if to == _ANYWHERE else f"The route to {to}"
    hops = {client: _hop(way) for client, way in wrong.items()}
    return Finding(
        "default route" if to == _ANYWHERE else f"route to {to}",
        Severity.CRITICAL,
        f"{name} of this real server {_leads(route)}, so replies do not return through the "
        "director",
        {"next_hops": hops, "director_addresses": sorted(place.director_addresses)},
        tuple(_fixes(snapshot, place, wrong)),
    )


def _hop(route: Route | None) -> str | None:
    return None if route is None else route.gateway or f"dev {route.interface}"


def _leads(route: Route | None) -> str:
    if route is None:
        return "is missing"
    if route.gateway is None:
        return f"leads directly out of {route.interface}"
    return f"leads to {route.gateway}"


def _target(to: str, route: Route | None) -> str:
    """Return the destination of a new route to the client *to*, which replaces *route*.

    The destination is the network of *route*, or only the client's address if *route* has no
    gateway. The destination is `default` if *route* is the default route or None (no route).
    """
    if route is None or route.network.prefixlen == 0:
        return "default"
    return f"{to}/32" if route.gateway is None else str(route.network)


def _fixes(snapshot: Snapshot, place: Place, wrong: dict[str, Route | None]) -> Iterator[Fix]:
    links = [r.network for r in snapshot.routes or () if r.gateway is None and r.network.prefixlen]
    near = sorted(
        (a for a in place.director_addresses if ":" not in a),
        key=lambda a: (a in place.vips, IPv4Address(a)),
    )
    inside = next((a for a in near if any(IPv4Address(a) in n for n in links)), None)
    if inside is None:
        yield Fix(
            "join-the-directors-network",
            "Give this host an address in one of the director's networks",
            Risk.DISRUPTIVE,
        )
        return
    yield commands(
        snapshot,
        "route-through-director",
        f"Route replies through the director, {inside}",
        dict.fromkeys(
            ("ip", "route", "replace", _target(to, route), "via", inside)
            for to, route in wrong.items()
        ),
        risk=Risk.DISRUPTIVE,
    )
