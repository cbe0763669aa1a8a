from collections.abc import Iterator

from dirtune.analyse import rates
from dirtune.checks import Finding, Role, Severity, Undecided, Verdicts, check, inconclusive
from dirtune.checks.remedies import sysctl
from dirtune.collect.ip_vs import Forward, Service
from dirtune.collect.routes import Route, route_to
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Snapshot

_SENT = "Icmp.OutRedirects"


@check(
    "realserver/nat-redirects",
    severity=Severity.HIGH,
    trust="A",
    roles=(Role.DIRECTOR,),
    mends=True,
)
def nat_redirects(
    snapshot: Snapshot, services: tuple[Service, ...], sysctls: Sysctls, routes: tuple[Route, ...]
) -> Verdicts:
    """A director with NAT sends ICMP redirects that make real servers bypass it.

    ## What it does
    The check examines each network with real servers behind NAT (`Masq`). It reports a network
    that also has a client of the cluster, if `send_redirects` is on for `all` or for the
    interface. It also reports a rise of `OutRedirects` between two samples. If a network has
    virtual addresses and the clients are unknown, the check is inconclusive.

    ## Why it matters
    The director forwards replies through the interface on which they arrive, so it sends a
    redirect: the real server should send to the client directly. Replies that bypass the director
    have the real server's own address, so the client resets the connection.

    ## Remediation
    Set `send_redirects` to 0 for `all` **and** for the interface. Set it again after turning
    `ip_forward` on, which resets it. Real servers must not have their own route to the clients'
    network either.

    ## References
    - Documentation/networking/ip-sysctl.rst, `send_redirects`
    - LVS-HOWTO, LVS-NAT on one network
    """
    masqueraded = (
        d.address for s in services for d in s.destinations if d.forward == Forward.MASQ
    )
    links = dict.fromkeys(route for a in masqueraded for route in _link(routes, a))
    for link in links:
        sends = _sends(sysctls, link.interface)
        if sends is None:
            yield inconclusive(f"net.ipv4.conf.{link.interface}.send_redirects could not be read")
        elif sends:
            yield from _judged(snapshot, link)


def _link(routes: tuple[Route, ...], address: str) -> tuple[Route, ...]:
    route = route_to(routes, address)
    return (route,) if route is not None and route.gateway is None else ()


def _sends(sysctls: Sysctls, interface: str) -> bool | None:
    values = [sysctls.conf(name, "send_redirects") for name in ("all", interface)]
    return True if any(values) else None if None in values else False


def _judged(snapshot: Snapshot, link: Route) -> Iterator[Finding | Undecided]:
    routes = snapshot.routes or ()
    place = snapshot.place
    near = sorted(a for a in (place.client_addresses if place else ()) if link in _link(routes, a))
    sent = _redirects(snapshot)
    vips = [s.address for s in snapshot.services or () if s.address is not None]
    if near or sent:
        yield _finding(snapshot, link, near, sent)
    elif any(link in _link(routes, vip) for vip in vips) and not (
        place and place.client_addresses
    ):
        yield inconclusive(
            f"the clients' addresses are unknown, and clients may be in {link.network}"
        )


def _redirects(snapshot: Snapshot) -> int | None:
    if snapshot.earlier is None or snapshot.earlier.snmp is None or snapshot.snmp is None:
        return None
    return rates.increase(snapshot.earlier.snmp.get(_SENT), snapshot.snmp.get(_SENT))


def _finding(snapshot: Snapshot, link: Route, near: list[str], sent: int | None) -> Finding:
    if sent:
        message = (
            f"Between the samples this director sent {sent} ICMP redirects, which make real "
            "servers bypass it"
        )
    else:
        message = (
            f"send_redirects is on for {link.interface}, and the client {near[0]} is in the same "
            "network as the real servers, so this director tells the real servers to bypass it"
        )
    names = ("all", link.interface)
    return Finding(
        link.interface,
        Severity.HIGH,
        message,
        {"network": str(link.network), "clients": near, "redirects": sent},
        (
            sysctl(
                snapshot,
                "send-no-redirects",
                "Stop sending ICMP redirects",
                {f"net/ipv4/conf/{name}/send_redirects": 0 for name in names},
            ),
        ),
    )
