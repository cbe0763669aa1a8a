from collections.abc import Iterator

from dirtune.checks import Finding, Fix, Risk, Role, Severity, Verdicts, check, inconclusive
from dirtune.checks.ipvs import counted
from dirtune.checks.remedies import sysctl
from dirtune.collect.ip_vs import Forward, Service
from dirtune.collect.routes import route_to
from dirtune.collect.sysctls import Sysctls, dotted
from dirtune.snapshot import Snapshot

_ENOUGH = (
    1_000  # incoming packets, some of which must have had a reply; an estimate, not calibrated
)
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
    The check reports an interface that leads to real servers behind NAT (Masq) but does not
    forward. For IPv4 it reads `net.ipv4.conf.IF.forwarding` or, if that is unknown,
    `net.ipv4.ip_forward`; for IPv6 `net.ipv6.conf.all.forwarding`. It also reports a TCP or SCTP
    service that uses only Masq and received 1,000 packets or more between two samples, but sent
    none back. Direct routing, tunnels and destinations on this host need no forwarding, and are
    safer without it.

    ## Why it matters
    IPVS itself sends the requests to the real server, but the kernel must forward the replies.
    Without forwarding, no connection is established.

    ## Remediation
    Set `net.ipv4.ip_forward=1`. Then check `send_redirects` and LRO, because both cause problems
    on a host that forwards.

    ## Known problems
    The check reads only the main IPv4 routing table. It does not judge UDP services by their
    packets, because some UDP services, such as syslog, have no replies.

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
    """Return, by sysctl, whether the host may forward packets from *servers*; None if unknown."""
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
