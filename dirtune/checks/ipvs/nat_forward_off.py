from collections.abc import Iterator

from dirtune.checks import Finding, Fix, Risk, Role, Severity, Verdicts, check, inconclusive
from dirtune.checks.ipvs import counted
from dirtune.checks.remedies import sysctl
from dirtune.collect.ip_vs import Forward, Service
from dirtune.collect.routes import route_to
from dirtune.collect.sysctls import Sysctls, dotted
from dirtune.snapshot import Snapshot

_ENOUGH = 1_000  # packets in that must have had a reply; an estimate, not calibrated
_ANSWERED = frozenset({"TCP", "SCTP"})
_V6 = "net/ipv6/conf/all/forwarding"


@check(
    "ipvs/nat-forward-off",
    severity=Severity.CRITICAL,
    trust="A",
    needs=("services",),
    roles=(Role.DIRECTOR,),
    mends=True,
)
def nat_forward_off(snapshot: Snapshot, sysctls: Sysctls) -> Verdicts:
    """Replies of NAT services cannot pass, because this host does not forward.

    ## What it does
    The check reports an interface through which real servers of Masq are reached and that does not
    forward (`net.ipv4.conf.IF.forwarding`, `net.ipv4.ip_forward` where that is unknown;
    `net.ipv6.conf.all.forwarding` for IPv6). It also reports a TCP or SCTP service that uses only
    Masq, received 1,000 packets between two samples and sent none back. Direct routing and tunnels
    need no forwarding, and are safer without it; so are destinations on this host.

    ## Why it matters
    IPVS sends a request on as the director's own packet, but the reply must be forwarded. Without
    forwarding no connection is ever established.

    ## Remediation
    Set `net.ipv4.ip_forward=1`. Check `send_redirects` and LRO afterwards, because both matter on
    a host that forwards.

    ## Known problems
    Only the routes of the main IPv4 table are read. UDP is not judged by packets, because some UDP
    services, syslog for one, have no replies.

    ## References
    - net/ipv4/route.c, `ip_route_input_slow()`
    """
    servers = _servers(snapshot)
    if not servers:
        return
    if snapshot.addresses is None:
        yield inconclusive(
            "the addresses of this host are unknown, so it may be a real server itself"
        )
        return
    blocked = _blocked(snapshot, sysctls, servers)
    for where, forwards in sorted(blocked.items()):
        if forwards is None:
            yield inconclusive(f"{dotted(where)} could not be read")
        elif not forwards:
            yield _off(snapshot, where)
    if all(blocked.values()):
        yield from _silent(snapshot)


def _servers(snapshot: Snapshot) -> frozenset[str]:
    return frozenset(
        d.address
        for s in snapshot.services or ()
        for d in s.destinations
        if d.forward == Forward.MASQ and d.address not in (snapshot.addresses or ())
    )


def _blocked(
    snapshot: Snapshot, sysctls: Sysctls, servers: frozenset[str]
) -> dict[str, bool | None]:
    """Return, by sysctl, whether it allows packets from *servers* to be forwarded."""
    names = {_V6 if ":" in server else _v4(snapshot, server) for server in servers}
    values = {name: sysctls.number(name) for name in names}
    return {name: None if value is None else value > 0 for name, value in values.items()}


def _v4(snapshot: Snapshot, server: str) -> str:
    route = route_to(snapshot.routes, server) if snapshot.routes else None
    if route is None or snapshot.sysctls is None:
        return "net/ipv4/ip_forward"
    known = snapshot.sysctls.conf(route.interface, "forwarding") is not None
    return f"net/ipv4/conf/{route.interface}/forwarding" if known else "net/ipv4/ip_forward"


def _off(snapshot: Snapshot, name: str) -> Finding:
    value = {_V6 if name == _V6 else "net/ipv4/ip_forward": 1}
    return Finding(
        subject=dotted(name),
        severity=Severity.CRITICAL,
        message=f"{dotted(name)} is 0, so replies from real servers behind NAT are not forwarded",
        evidence={"setting": name, "value": 0, "servers": sorted(_servers(snapshot))},
        fixes=(sysctl(snapshot, "forward", "Turn packet forwarding on", value),),
    )


def _silent(snapshot: Snapshot) -> Iterator[Finding]:
    for service in snapshot.services or ():
        came, went = (counted(snapshot, service, f"packets_{way}") for way in ("in", "out"))
        if _nat_alone(service) and came is not None and came >= _ENOUGH and went == 0:
            yield Finding(
                subject=service.name,
                severity=Severity.CRITICAL,
                message=f"{service.name} received {came:,} packets, but no reply went back "
                "through this host",
                evidence={"packets_in": came, "packets_out": went, "seconds": snapshot.seconds},
                fixes=(
                    Fix(
                        "route-replies",
                        "Route the replies of the real servers through this host",
                        Risk.SAFE,
                    ),
                ),
            )


def _nat_alone(service: Service) -> bool:
    used = [d for d in service.destinations if d.weight > 0]
    return service.protocol in _ANSWERED and {d.forward for d in used} == {Forward.MASQ}
