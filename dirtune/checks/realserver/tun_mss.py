from dirtune.checks import Finding, Role, Severity, Verdicts, check, inconclusive
from dirtune.checks.realserver import UNPLANNED, UNTUNNELLED, rules_with, tunnelled
from dirtune.checks.remedies import commands
from dirtune.collect.net import Interface
from dirtune.collect.routes import Route, route_to
from dirtune.snapshot import Snapshot

_MSS = 1440  # 1500 less the tunnel's 20 and 40 of IPv4 and TCP
_HEADERS_BYTES = 40
_STANDARD_MTU = 1500
_CLAMP = frozenset({"TCPMSS", "maxseg"})
_MODULES = frozenset({"xt_TCPMSS", "nf_tables"})
_ANYWHERE = "0.0.0.0"  # noqa: S104  (the network of the default route, nothing listens)


@check(
    "realserver/tun-mss",
    severity=Severity.HIGH,
    trust="B",
    roles=(Role.REAL_SERVER,),
)
def tun_mss(
    snapshot: Snapshot, routes: tuple[Route, ...], interfaces: tuple[Interface, ...]
) -> Verdicts:
    """A real server behind a tunnel announces segments that do not fit through it.

    ## What it does
    On a real server that is reached through a tunnel, the check reports that the TCP segment size
    that the server announces on its default route (`advmss`, else the interface's MTU less 40) is
    above 1440 bytes, on a link of 1500 bytes. Links with a larger MTU and servers with rules that
    set the size are not reported; rules that could not be read make the check inconclusive.

    ## Why it matters
    The director cannot fragment a client's full-sized packets (DF is set), so uploads stall. Only
    the size that the server announces in its SYN-ACK keeps the packets small.

    ## Remediation
    Set `advmss 1440` on the default route, or a TCPMSS rule for the virtual address. The size
    applies to new connections, and has to be set on the real server, not on the director.

    ## Known problems
    GRE and GUE take more than the 20 bytes of IP-in-IP; the type of the tunnel is unknown here. A
    larger MTU on this host's link does not prove that the complete path to the director has it.

    ## References
    - LVS-HOWTO, LVS-Tun, MTU
    """
    used = tunnelled(snapshot)
    route = route_to(routes, _ANYWHERE)
    if not used:
        yield UNPLANNED if used is None else UNTUNNELLED
        return
    mtu = {i.name: i.mtu for i in interfaces}.get(route.interface) if route else None
    if route is None or mtu is None:
        yield inconclusive("the default route or the MTU of its interface is unknown")
        return
    announced = min(route.advmss or mtu, mtu - _HEADERS_BYTES)
    if announced <= _MSS or mtu > _STANDARD_MTU:
        return
    clamped = rules_with(snapshot, _CLAMP, _MODULES)
    if clamped is None:
        yield inconclusive(
            f"this host announces an MSS of {announced} bytes, and rules that may lower the MSS "
            "could not be read"
        )
    elif not clamped:
        yield _finding(snapshot, route, announced)


def _finding(snapshot: Snapshot, route: Route, announced: int) -> Finding:
    via = ("via", route.gateway) if route.gateway else ()
    metric = ("metric", str(route.metric)) if route.metric else ()
    change = ("ip", "route", "change", "default", *via, "dev", route.interface, *metric)
    return Finding(
        "default route",
        Severity.HIGH,
        f"This real server announces an MSS of {announced} bytes, but only {_MSS} bytes fit "
        "through the tunnel",
        {"mss_bytes": announced, "interface": route.interface},
        (
            commands(
                snapshot,
                "announce-small-segments",
                f"Announce an MSS of {_MSS} bytes on the default route",
                ((*change, "advmss", str(_MSS)),),
            ),
        ),
    )
