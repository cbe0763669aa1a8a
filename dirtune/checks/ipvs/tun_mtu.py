from collections.abc import Iterator
from dataclasses import dataclass

from dirtune.analyse import rates
from dirtune.checks import Finding, Fix, Risk, Role, Severity, Verdicts, check, uncounted
from dirtune.checks.ipvs import detail
from dirtune.checks.remedies import commands
from dirtune.checks.together import listed
from dirtune.collect.ip_vs import Forward
from dirtune.collect.routes import route_to
from dirtune.snapshot import Snapshot

_PACKET_BYTES = 1500  # the largest that a client sends
# An outer header of IPv4, and GRE's 4 bytes or GUE's 4 and UDP's 8 at least.
_OVERHEAD_BYTES = {0: 20, 1: 32, 2: 24}
_ERRORS = 10  # between two samples; an estimate, not calibrated


@dataclass(frozen=True, slots=True)
class _Narrow:
    """An interface whose MTU is too small for tunnelled packets of full size."""

    interface: str
    mtu: int
    overhead: int


@check(
    "ipvs/tun-mtu",
    severity=Severity.HIGH,
    trust="A",
    needs=("services", "routes", "interfaces"),
    roles=(Role.DIRECTOR,),
)
def tun_mtu(snapshot: Snapshot) -> Verdicts:
    """Packets to real servers behind a tunnel are larger than the path allows.

    ## What it does
    The check examines interfaces that lead to real servers behind a tunnel. It reports an MTU of
    less than 1,500 bytes plus the tunnel's header (20 bytes for IPIP, 24 for GRE, 32 for GUE).
    Between two samples, this host must also have fragmented packets, or sent 10 ICMP unreachable
    messages or more.

    ## Why it matters
    Clients send packets of 1,500 bytes that must not be fragmented. IPVS answers with the ICMP
    error "fragmentation needed", which many firewalls drop: uploads hang while small requests
    work.

    ## Remediation
    Have the real servers announce a smaller MSS, or use jumbo frames between director and servers.
    With `net.ipv4.vs.pmtu_disc=0`, IPVS fragments the packets instead, which is slow.

    ## Known problems
    The director does not know the MSS that real servers announce, and counts ICMP messages with
    other causes too. The check ignores that options of GUE and GRE and an outer IPv6 header make
    the header longer. It does not read IPv6 routes.

    ## References
    - net/netfilter/ipvs/ip_vs_xmit.c, `ensure_mtu_is_adequate()`
    """
    narrow = {interface.interface: interface for interface in _narrow(snapshot)}
    if not narrow:
        return
    rises = _rises(snapshot)
    if not rises:
        yield uncounted(
            snapshot,
            "two samples of /proc/net/snmp are needed to see whether packets are too large",
        )
    elif any(rise >= _ERRORS for rise in rises.values()):
        for interface in narrow.values():
            yield _finding(snapshot, interface, rises)


def _narrow(snapshot: Snapshot) -> Iterator[_Narrow]:
    mtus = {i.name: i.mtu for i in snapshot.interfaces or ()}
    for address, kind in _tunnels(snapshot):
        route = route_to(snapshot.routes or (), address)
        mtu = mtus.get(route.interface) if route else None
        overhead = _OVERHEAD_BYTES.get(kind, 20)
        if route and mtu is not None and mtu < _PACKET_BYTES + overhead:
            yield _Narrow(route.interface, mtu, overhead)


def _tunnels(snapshot: Snapshot) -> Iterator[tuple[str, int]]:
    """Yield the address and tunnel type of each tunnelled destination; an unknown type is IPIP."""
    for service in snapshot.services or ():
        known = detail(snapshot, service)
        kinds = {(d.address, d.port): d.tunnel_type for d in known.destinations} if known else {}
        for server in service.destinations:
            if server.forward == Forward.TUNNEL and ":" not in server.address:
                yield server.address, kinds.get((server.address, server.port), 0)


def _rises(snapshot: Snapshot) -> dict[str, int]:
    before = (snapshot.earlier.snmp if snapshot.earlier else None) or {}
    now = snapshot.snmp or {}
    names = ("Icmp.OutDestUnreachs", "Ip.FragCreates", "Ip.FragFails")
    increases = {name: rates.increase(before.get(name), now.get(name)) for name in names}
    return {name: rise for name, rise in increases.items() if rise is not None}


def _finding(snapshot: Snapshot, narrow: _Narrow, rises: dict[str, int]) -> Finding:
    needed = _PACKET_BYTES + narrow.overhead
    return Finding(
        subject=narrow.interface,
        severity=Severity.HIGH,
        message=f"The MTU of {narrow.interface} is {narrow.mtu} bytes, but tunnelled packets "
        f"have up to {needed} bytes; "
        + listed(f"{name} rose by {rise:,}" for name, rise in rises.items() if rise),
        evidence={
            "interface": narrow.interface,
            "mtu_bytes": narrow.mtu,
            "overhead_bytes": narrow.overhead,
            "rises": rises,
            "seconds": snapshot.seconds,
        },
        fixes=(
            Fix("smaller-mss", "Have the real servers announce a smaller MSS", Risk.SAFE),
            commands(
                snapshot,
                "raise-mtu",
                f"Raise the MTU to {needed} bytes, if switches and real servers support it",
                (("ip", "link", "set", "dev", narrow.interface, "mtu", str(needed)),),
                risk=Risk.DISRUPTIVE,
            ),
        ),
    )
