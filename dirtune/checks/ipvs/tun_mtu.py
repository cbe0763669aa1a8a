from collections.abc import Iterator
from dataclasses import dataclass

from dirtune.analyse import rates
from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, inconclusive
from dirtune.checks.ipvs import detail
from dirtune.checks.remedies import commands
from dirtune.collect.routes import route_to
from dirtune.snapshot import Snapshot

_PACKET_BYTES = 1500  # what a client sends at most
# An outer header of IPv4, and GRE's 4 bytes or GUE's 4 and UDP's 8 at least.
_OVERHEAD_BYTES = {0: 20, 1: 32, 2: 24}
_ERRORS = 10  # between two samples; an estimate, not calibrated


@dataclass(frozen=True, slots=True)
class _Narrow:
    """An interface that tunnelled packets of full size do not fit."""

    interface: str
    mtu: int
    overhead: int


@check(
    "ipvs/tun-mtu",
    severity=Severity.HIGH,
    trust="A",
    needs=("services", "routes", "interfaces"),
    roles=("director",),
)
def tun_mtu(snapshot: Snapshot) -> Verdicts:
    """Packets to real servers behind a tunnel are larger than the path takes.

    ## What it does
    Reports an interface towards real servers of Tunnel whose MTU is below 1,500 bytes and the
    tunnel's header (20, 24 with GRE, 32 with GUE), while this host sends 10 or more ICMP
    unreachable messages, or makes fragments, between two samples.

    ## Why it matters
    A client sends packets of 1,500 bytes that must not be fragmented. IPVS answers that a
    fragment is needed, and many paths filter that answer: uploads hang while small requests
    work.

    ## Remediation
    Let the real servers announce a smaller MSS, or use jumbo frames between director and
    servers. `net.ipv4.vs.pmtu_disc=0` makes fragments instead, which is slow.

    ## Known problems
    The MSS that real servers announce is not known here; ICMP messages of other causes count
    too. Options of GUE and GRE and IPv6 outside add to the header and are not counted; routes of
    IPv6 are not read.

    ## References
    - net/netfilter/ipvs/ip_vs_xmit.c, `ensure_mtu_is_adequate()`
    """
    narrow = {each.interface: each for each in _narrow(snapshot)}
    if not narrow:
        return
    rises = _rises(snapshot)
    if not rises:
        yield inconclusive("whether packets are too large takes two samples of /proc/net/snmp")
    elif any(rise >= _ERRORS for rise in rises.values()):
        for each in narrow.values():
            yield _finding(snapshot, each, rises)


def _narrow(snapshot: Snapshot) -> Iterator[_Narrow]:
    mtus = {i.name: i.mtu for i in snapshot.interfaces or ()}
    for address, kind in _tunnels(snapshot):
        route = route_to(snapshot.routes or (), address)
        mtu = mtus.get(route.interface) if route else None
        overhead = _OVERHEAD_BYTES.get(kind, 20)
        if route and mtu is not None and mtu < _PACKET_BYTES + overhead:
            yield _Narrow(route.interface, mtu, overhead)


def _tunnels(snapshot: Snapshot) -> Iterator[tuple[str, int]]:
    """Yield address and kind of each destination behind a tunnel; IPIP where it is not known."""
    for service in snapshot.services or ():
        known = detail(snapshot, service)
        kinds = {(d.address, d.port): d.tunnel_type for d in known.destinations} if known else {}
        for each in service.destinations:
            if each.forward == "Tunnel" and ":" not in each.address:
                yield each.address, kinds.get((each.address, each.port), 0)


def _rises(snapshot: Snapshot) -> dict[str, int]:
    before = (snapshot.earlier.snmp if snapshot.earlier else None) or {}
    now = snapshot.snmp or {}
    names = ("Icmp.OutDestUnreachs", "Ip.FragCreates", "Ip.FragFails")
    found = {name: rates.increase(before.get(name), now.get(name)) for name in names}
    return {name: rise for name, rise in found.items() if rise is not None}


def _finding(snapshot: Snapshot, each: _Narrow, rises: dict[str, int]) -> Finding:
    wanted = _PACKET_BYTES + each.overhead
    return Finding(
        subject=each.interface,
        severity=Severity.HIGH,
        message=f"takes {each.mtu} bytes and tunnelled packets have up to {wanted}, and "
        + ", ".join(f"{name} rose by {rise:,}" for name, rise in rises.items() if rise),
        evidence={
            "interface": each.interface,
            "mtu_bytes": each.mtu,
            "overhead_bytes": each.overhead,
            "rises": rises,
            "seconds": snapshot.seconds,
        },
        fixes=(
            Fix("smaller-mss", "Let the real servers announce a smaller MSS", Risk.SAFE),
            commands(
                snapshot,
                "raise-mtu",
                "Use larger frames, where switches and real servers take them",
                (("ip", "link", "set", "dev", each.interface, "mtu", str(wanted)),),
                risk=Risk.DISRUPTIVE,
            ),
        ),
    )
