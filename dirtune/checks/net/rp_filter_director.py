from dirtune.analyse import rates
from dirtune.checks import Finding, Fix, Role, Severity, Verdicts, check, inconclusive
from dirtune.checks.ipvs import vips
from dirtune.checks.realserver import policy_routed
from dirtune.checks.remedies import sysctl
from dirtune.checks.together import listed, subjects
from dirtune.collect.routes import Route, route_to
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Snapshot

_STRICT, _LOOSE = 1, 2
_COUNTER = "TcpExt.IPReversePathFilter"
_ANYWHERE = "0.0.0.0"  # noqa: S104  (where clients are, as far as a route goes)


@check(
    "net/rp-filter-director",
    severity=Severity.HIGH,
    trust="A",
    roles=(Role.DIRECTOR,),
    mends=True,
)
def rp_filter_director(
    snapshot: Snapshot, sysctls: Sysctls, routes: tuple[Route, ...]
) -> Verdicts:
    """The reverse path filter drops packets of clients whose return route uses another interface.

    ## What it does
    The check examines a director that has routes through two or more interfaces, of which at least
    one is strict. An interface is strict if the greater of `all` and its own `rp_filter` is 1; 0
    and 2 are fine. The finding is `high` if `IPReversePathFilter` in /proc/net/netstat rose
    between two samples. Otherwise each strict interface on which client packets arrive is
    `medium`, except the interface of the best default route. The check assumes that client packets
    arrive on interfaces whose network contains a virtual address, and on interfaces with another
    default route.

    ## Why it matters
    The kernel drops the packet after the route lookup, and only `IPReversePathFilter` shows the
    loss.

    ## Remediation
    Set both `all` and the interface's value to 2 (loose), or both to 0. The greater value applies,
    so while `all` is 1, a lower value of the interface has no effect.

    ## Known problems
    If the virtual addresses are routed to the director, as with BGP, the interface on which client
    packets arrive is unknown, and the check is inconclusive. It is also inconclusive if `ip rule`
    uses other routing tables. Clients on a network with its own route are not considered. IPv6 has
    no such setting.

    ## References
    - Documentation/networking/ip-sysctl.rst, `rp_filter`
    - net/ipv4/fib_frontend.c, `__fib_validate_source()`
    """
    names = tuple(dict.fromkeys(route.interface for route in routes))
    if len(names) < 2:
        return
    strict = tuple(name for name in names if _mode(snapshot, name) == _STRICT)
    rise = _rise(snapshot)
    if strict and rise:
        yield _dropping(snapshot, sysctls, strict, rise)
        return
    for name in names:
        if _mode(snapshot, name) is None:
            yield inconclusive(f"net.ipv4.conf.{name}.rp_filter could not be read")
    if strict:
        yield from _by_config(snapshot, sysctls, strict)


def _mode(snapshot: Snapshot, interface: str) -> int | None:
    return snapshot.sysctls.effective(interface, "rp_filter") if snapshot.sysctls else None


def _rise(snapshot: Snapshot) -> int | None:
    then, now = snapshot.earlier.snmp if snapshot.earlier else None, snapshot.snmp
    return rates.increase(then.get(_COUNTER), now.get(_COUNTER)) if then and now else None


def _by_config(snapshot: Snapshot, sysctls: Sysctls, strict: tuple[str, ...]) -> Verdicts:
    best = route_to(snapshot.routes or (), _ANYWHERE)
    if best is None:  # every client is on a link or has its own route
        return
    suspects = [name for name in strict if name != best.interface]
    if suspects and policy_routed(snapshot) is not False:
        yield inconclusive("an ip rule may use routing tables that dirtune does not read")
        return
    arriving = _arrivals(snapshot)
    asymmetric = [name for name in suspects if name in arriving]
    for name in asymmetric:
        yield _asymmetric(snapshot, sysctls, name, best.interface)
    if suspects and not asymmetric and not arriving:
        yield inconclusive(
            "no virtual address is in the network of an interface, so the interface that clients "
            "use is unknown"
        )


def _arrivals(snapshot: Snapshot) -> frozenset[str]:
    """Return the interfaces on which client packets arrive, judged by routes; empty if unknown."""
    routes = snapshot.routes or ()
    defaults = {r.interface for r in routes if not r.network.prefixlen}
    to_vips = [route_to(routes, vip) for vip in vips(snapshot)]
    on_link = {r.interface for r in to_vips if r and r.gateway is None and r.network.prefixlen}
    return frozenset(on_link | (defaults if on_link or len(defaults) > 1 else set()))


def _loosen(snapshot: Snapshot, names: tuple[str, ...]) -> tuple[Fix, ...]:
    values = {f"net/ipv4/conf/{name}/rp_filter": _LOOSE for name in ("all", *names)}
    return (
        sysctl(
            snapshot, "loosen-rp-filter", "Check source addresses loosely (rp_filter = 2)", values
        ),
    )


def _evidence(
    snapshot: Snapshot, sysctls: Sysctls, names: tuple[str, ...], rise: int | None
) -> dict[str, object]:
    return {
        "rp_filter": {n: sysctls.conf(n, "rp_filter") for n in ("all", *names)},
        "dropped_packets": rise,
        "seconds": snapshot.seconds,
    }


def _dropping(snapshot: Snapshot, sysctls: Sysctls, strict: tuple[str, ...], rise: int) -> Finding:
    return Finding(
        subject=subjects(strict),
        severity=Severity.HIGH,
        message=f"The strict rp_filter on {listed(strict)} dropped {rise:,} packets in "
        f"{snapshot.seconds or 0:.0f} s",
        evidence=_evidence(snapshot, sysctls, strict, rise),
        fixes=_loosen(snapshot, strict),
    )


def _asymmetric(snapshot: Snapshot, sysctls: Sysctls, name: str, back: str) -> Finding:
    return Finding(
        subject=name,
        severity=Severity.MEDIUM,
        message=f"rp_filter of {name} is {_STRICT}, so client packets that arrive on {name} are "
        f"dropped, because the route back to the client leaves through {back}",
        evidence=_evidence(snapshot, sysctls, (name,), _rise(snapshot)) | {"best_route": back},
        fixes=_loosen(snapshot, (name,)),
    )
