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
    """A real server of direct routing is behind a router.

    ## What it does
    The check looks up the director's route to every destination of method `Route` and reports a
    route that leads through a gateway. Tunnels and NAT may cross routers and are not reported, nor
    are networks that vxlan or another tunnel joins into one link. More rules in `ip rule` than the
    usual three make the check inconclusive.

    ## Why it matters
    Direct routing only changes the MAC address. A router sees a packet for the virtual address and
    sends it back to the director, which forwards it again: a loop.

    ## Remediation
    Use a tunnel for that server, or move the server to the director's link.

    ## Known problems
    IPv6 and routes of other tables are not read.

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
            yield inconclusive(f"the main table has no route to {address}")
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
                f"Forward to {address} through a tunnel, or move it to the director's link",
                Risk.DISRUPTIVE,
            ),
        ),
    )
