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
    """A real server behind a tunnel announces a TCP segment size that the tunnel cannot carry.

    ## What it does
    The check examines real servers that the director reaches through a tunnel. It reports a server
    that announces an MSS above 1440 bytes on its default route (`advmss`, or the interface's MTU
    minus 40), if the MTU of the link is 1500 bytes. It does not report servers with rules that set
    the MSS. If the rules could not be read, the check is inconclusive.

    ## Why it matters
    The director cannot fragment a client's full-sized packets (DF is set), so uploads stall.
    Clients send smaller packets only if the server announces a smaller MSS in its SYN-ACK.

    ## Remediation
    On the real server, not on the director, set `advmss 1440` on the default route, or add a
    TCPMSS rule for the virtual address. The MSS applies to new connections.

    ## Known problems
    The check assumes IP-in-IP, which takes 20 bytes; GRE and GUE take more. A larger MTU on this
    host's link does not prove that the complete path to the director has the larger MTU.

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
