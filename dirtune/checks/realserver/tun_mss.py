from dirtune.checks import Finding, Severity, Verdicts, check, inconclusive, not_applicable
from dirtune.checks.realserver import UNPLANNED, rules_with, tunnelled
from dirtune.checks.remedies import commands
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
    needs=("routes", "interfaces"),
    roles=("real-server",),
)
def tun_mss(snapshot: Snapshot) -> Verdicts:
    """A real server behind a tunnel announces segments that do not fit through it.

    ## What it does
    On a real server that is reached by a tunnel, reports that the TCP segment size it announces
    on its default route (`advmss`, else the interface's MTU less 40) is above 1440 bytes, on a
    link of 1500. Links with a larger MTU are left alone, and rules that set the size; rules that
    could not be read leave it undecided.

    ## Why it matters
    The director cannot fragment a client's full-sized packets (DF is set): uploads stall. The
    only thing that keeps them small is the size that the server announces in its SYN-ACK.

    ## Remediation
    `advmss 1440` on the default route, or a rule of TCPMSS for the virtual address. It holds for
    new connections, and has to be set here and not on the director.

    ## Known problems
    GRE and GUE take more than the 20 bytes of IP-in-IP; the type of the tunnel is not known here.
    A larger MTU on this host's link does not prove the same of the whole way to the director.

    ## References
    - LVS-HOWTO, LVS-Tun, MTU
    """
    used = tunnelled(snapshot)
    route = route_to(snapshot.routes or (), _ANYWHERE)
    if not used:
        yield inconclusive(UNPLANNED) if used is None else not_applicable("not reached by tunnel")
        return
    mtu = (
        {i.name: i.mtu for i in snapshot.interfaces or ()}.get(route.interface) if route else None
    )
    if route is None or mtu is None:
        yield inconclusive("the default route or its interface's MTU is not known")
        return
    announced = min(route.advmss or mtu, mtu - _HEADERS_BYTES)
    if announced <= _MSS or mtu > _STANDARD_MTU:
        return
    clamped = rules_with(snapshot, _CLAMP, _MODULES)
    if clamped is None:
        yield inconclusive(f"announces {announced} bytes; rules of TCPMSS could not be read")
    elif not clamped:
        yield _finding(snapshot, route, announced)


def _finding(snapshot: Snapshot, route: Route, announced: int) -> Finding:
    via = ("via", route.gateway) if route.gateway else ()
    metric = ("metric", str(route.metric)) if route.metric else ()
    change = ("ip", "route", "change", "default", *via, "dev", route.interface, *metric)
    return Finding(
        "default route",
        Severity.HIGH,
        f"announces segments of {announced} bytes, {_MSS} fit through the tunnel",
        {"mss_bytes": announced, "interface": route.interface},
        (
            commands(
                snapshot,
                "announce-small-segments",
                f"Announce segments of {_MSS} bytes",
                ((*change, "advmss", str(_MSS)),),
            ),
        ),
    )
