from collections.abc import Iterator

from dirtune.analyse import rates
from dirtune.checks import (
    Cause,
    Finding,
    Fix,
    Risk,
    Role,
    Severity,
    Verdicts,
    check,
    inconclusive,
)
from dirtune.checks.ipvs import counted
from dirtune.checks.remedies import sysctl
from dirtune.checks.together import few
from dirtune.collect.ip_vs import Forward, Service
from dirtune.collect.routes import route_to
from dirtune.collect.sysctls import Sysctls, dotted
from dirtune.snapshot import Snapshot

_ENOUGH = (
    1_000  # incoming packets, some of which must have had a reply; an estimate, not calibrated
)
_ANSWERED = frozenset({"TCP", "SCTP"})
_V4 = "net/ipv4/ip_forward"
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
    none back. Without netlink, the totals of /proc/net/ip_vs_stats replace the counters of the
    services, if all services are of this kind; one sample is enough for them. If no counters show
    whether replies pass, the check is inconclusive. Direct routing, tunnels and destinations on
    this host need no forwarding, and are safer without it.

    ## Why it matters
    IPVS itself sends the requests to the real server, but the kernel must forward the replies.
    Without forwarding, no connection is established.

    ## Remediation
    Set `net.ipv4.ip_forward=1`, or the interface's `forwarding` if only that is off. Then check
    `send_redirects` and LRO, because both cause problems on a host that forwards.

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
        yield from _silent_in_total(snapshot)


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
        return _V4
    known = snapshot.sysctls.conf(route.interface, "forwarding") is not None
    return f"net/ipv4/conf/{route.interface}/forwarding" if known else _V4


def _off(snapshot: Snapshot, name: str) -> Finding:
    # The kernel passes a new value of ip_forward on to the interfaces. If ip_forward is already 1,
    # writing it changes nothing (devinet_sysctl_forward()).
    whole = snapshot.sysctl(_V4) == 0
    value = {name if name == _V6 or not whole else _V4: 1}
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
                fixes=(_route_replies(),),
            )


def _silent_in_total(snapshot: Snapshot) -> Verdicts:
    """Judge by the totals of all services where the services' own counters are missing."""
    if snapshot.sysctl("net/ipv4/vs/run_estimation") == 0:
        yield inconclusive("net.ipv4.vs.run_estimation is 0, so the packet counters stand still")
        return
    used = [s for s in snapshot.services or () if any(d.weight > 0 for d in s.destinations)]
    natted = [s for s in used if _nat_alone(s)]
    if not natted or all(counted(snapshot, s, "packets_in") is not None for s in natted):
        return
    came, went = (_total(snapshot, f"packets_{way}") for way in ("in", "out"))
    if came is None or went is None or len(natted) < len(used):
        yield inconclusive(
            "the packets of single services are unknown, and so is whether replies of the real "
            "servers behind NAT pass this host: read them over netlink, as root",
            Cause.UNREAD,
        )
    elif went == 0 and came >= _ENOUGH:
        yield _none_back(snapshot, natted, came)
    elif went == 0:
        yield inconclusive(
            f"only {came:,} packets came for the services, too few to tell whether replies pass",
            Cause.IDLE,
        )


def _total(snapshot: Snapshot, counter: str) -> int | None:
    """Return how much a counter of all services rose, or its value if there is one sample."""
    now, before = snapshot.ip_vs_stats, snapshot.earlier
    if now is None or (before is not None and before.ip_vs_stats is None):
        return None
    then = getattr(before.ip_vs_stats, counter) if before else 0
    return rates.increase(then, getattr(now, counter))


def _none_back(snapshot: Snapshot, services: list[Service], came: int) -> Finding:
    when = "between the samples" if snapshot.earlier else "since the counters were set to zero"
    return Finding(
        subject="virtual services",
        severity=Severity.CRITICAL,
        message=f"{came:,} packets came for {few(s.name for s in services)} {when}, but no reply "
        "went back through this host. The real servers' default gateway is probably not this "
        "host, or a filter drops the replies",
        evidence={"packets_in": came, "packets_out": 0, "seconds": snapshot.seconds},
        fixes=(_route_replies(),),
    )


def _route_replies() -> Fix:
    return Fix(
        "route-replies",
        "Route the replies of the real servers through this host: make it their default gateway",
        Risk.SAFE,
    )


def _nat_alone(service: Service) -> bool:
    used = [d for d in service.destinations if d.weight > 0]
    return service.protocol in _ANSWERED and {d.forward for d in used} == {Forward.MASQ}
