from dirtune.checks import Finding, Fix, Risk, Role, Severity, Verdicts, check, inconclusive
from dirtune.checks.realserver import policy_routed
from dirtune.collect.ip_vs import Forward, Service
from dirtune.collect.routes import Route, route_to
from dirtune.snapshot import Snapshot


@check(
    "realserver/dr-off-link",
    severity=Severity.CRITICAL,
    trust="A",
    roles=(Role.DIRECTOR,),
)
def dr_off_link(
    snapshot: Snapshot, services: tuple[Service, ...], routes: tuple[Route, ...]
) -> Verdicts:
    """A real server that uses direct routing is behind a router.

    ## What it does
    The check looks up the director's route to every destination with the method `Route`, and
    reports a route through a gateway. It does not report tunnels and NAT, which may cross routers,
    and networks that vxlan or another tunnel joins into one link. If `ip rule` lists more than the
    usual three rules, the check is inconclusive.

    ## Why it matters
    Direct routing changes only the MAC address. A router that gets the packet sends it back to the
    director, because the packet is for the virtual address. The director forwards it again, so the
    packet loops.

    ## Remediation
    Use a tunnel for that server, or move the server to the director's link.

    ## Known problems
    The check does not read IPv6 routes and other routing tables.

    ## References
    - LVS-HOWTO, LVS-DR
    """
    direct = dict.fromkeys(
        d.address
        for s in services
        for d in s.destinations
        if d.forward == Forward.ROUTE and ":" not in d.address
    )
    for address in direct:
        route = route_to(routes, address)
        if address in (snapshot.addresses or ()):
            continue
        if route is None:
            yield inconclusive(f"the main routing table has no route to {address}")
        elif route.gateway is not None and policy_routed(snapshot) is not False:
            yield inconclusive(
                "`ip rule` lists more than its usual three rules, or could not be read"
            )
        elif route.gateway is not None:
            yield _finding(address, route)


def _finding(address: str, route: Route) -> Finding:
    return Finding(
        address,
        Severity.CRITICAL,
        f"{address} is reached through the gateway {route.gateway}, but direct routing cannot "
        "cross a router",
        {"destination": address, "gateway": route.gateway, "interface": route.interface},
        (
            Fix(
                "tunnel-to-real-server",
                f"Forward to {address} through a tunnel, or move this real server to the "
                "director's network",
                Risk.DISRUPTIVE,
            ),
        ),
    )
