import re

from dirtune.checks import Finding, Fix, Risk, Role, Severity, Verdicts, check, inconclusive
from dirtune.checks.counters import card, rises
from dirtune.checks.ipvs import destinations, forwarding, vips
from dirtune.checks.nic import mean_bytes, ports
from dirtune.checks.remedies import commands
from dirtune.collect.net import Interface
from dirtune.collect.routes import route_to
from dirtune.settings import FEATURES, CardValues
from dirtune.snapshot import Snapshot

_MERGED = re.compile(r"(?:^|[^a-z])(?:lro|hw_rsc|tpa)[ _](?:aggreg|packets|pkts)", re.IGNORECASE)
_HELD_ONLY = re.compile(r"lo|dummy\d+")  # these interfaces have addresses, but carry no packets
_HEADER_BYTES = 22  # Ethernet with one VLAN tag and the checksum


@check(
    "nic/lro-forwarding",
    severity=Severity.CRITICAL,
    trust="A",
    needs=("services", "interfaces", "ethtool"),
    roles=(Role.DIRECTOR,),
    mends=True,
)
def lro_forwarding(snapshot: Snapshot) -> Verdicts:
    """LRO is on for a NIC whose packets are forwarded to real servers.

    ## What it does
    The check reports a physical interface that carries packets of clients or real servers and has
    `large-receive-offload` on. The finding is `critical` if the driver's counters, or an average
    packet size above the MTU, show that the NIC merges packets now; else `high`. A director that
    only serves locally, and NICs that carry no packets of services, are not reported.

    ## Why it matters
    LRO merges packets without recording their sizes. A merged packet is larger than the MTU of the
    outgoing interface, so the kernel drops it, or sends the ICMP error "fragmentation needed". The
    kernel turns LRO off only if IPv4 forwarding is switched on or the interface joins a bridge. A
    director with DR or TUN may run with `ip_forward=0`, so the kernel leaves LRO on. GRO does not
    have this fault.

    ## Remediation
    Run `ethtool -K IF lro off`, which costs some CPU time. Keep it with `LargeReceiveOffload=no`
    in a systemd.link(5) file; bnx2x has the module option `disable_tpa=1`.

    ## Known problems
    The check derives the interfaces that carry clients' packets from addresses and the main
    routing table. If these are unknown, or if a tunnel or VLAN hides the physical interface, every
    port counts.

    ## References
    - net/ipv4/devinet.c, `inet_forward_change()`
    - net/netfilter/ipvs/ip_vs_xmit.c, `ensure_mtu_is_adequate()`
    """
    if forwarding(snapshot) <= {"Local"}:
        return
    carrying = _carrying(snapshot)
    for port in ports(snapshot):
        if carrying is not None and not {port.name, port.master} & carrying:
            continue
        features = card(snapshot, port.name).features
        if features is None:
            yield inconclusive(f"the offloads of {port.name} are unknown")
        elif "rx-lro" in features and features["rx-lro"].on:
            yield _finding(snapshot, port)


def _carrying(snapshot: Snapshot) -> frozenset[str] | None:
    """Return the interfaces that carry packets of services; None if any port may carry them."""
    if snapshot.routes is None or snapshot.interface_addresses is None:
        return None
    servers = [d.address for _, d in destinations(snapshot)]
    if any(":" in address for address in (*servers, *vips(snapshot))):
        return None  # the table is for IPv4
    ways = [route_to(snapshot.routes, address) for address in servers]
    ways += [r for r in snapshot.routes if r.network.prefixlen == 0]
    names = {way.interface for way in ways if way}
    names |= {a.interface for a in snapshot.interface_addresses if a.address in vips(snapshot)}
    known = {i.name for i in snapshot.interfaces or () if i.physical}
    known |= {i.master for i in snapshot.interfaces or () if i.master}
    names = {name for name in names if not _HELD_ONLY.fullmatch(name)}
    return frozenset(names) if names and names <= known else None


def _finding(snapshot: Snapshot, port: Interface) -> Finding:
    merged = _merged(snapshot, port)
    features = card(snapshot, port.name).features or {}
    forwards = snapshot.sysctls.conf(port.name, "forwarding") if snapshot.sysctls else None
    unprotected = "; IPv4 forwarding is off, so the kernel leaves LRO on" if forwards == 0 else ""
    fixed = features["rx-lro"].fixed
    return Finding(
        subject=port.name,
        severity=Severity.CRITICAL if merged else Severity.HIGH,
        message=f"{port.name} {'merges' if merged else 'may merge'} packets before they are "
        f"forwarded, because LRO is on{unprotected}",
        evidence={
            "rx-lro": True,
            "rx-gro-hw": features["rx-gro-hw"].on if "rx-gro-hw" in features else None,
            "forwarding": forwards,
            "merging": merged,
            "mtu_bytes": port.mtu,
        },
        fixes=(_driver(port) if fixed else _off(snapshot, port),),
    )


def _merged(snapshot: Snapshot, port: Interface) -> dict[str, object]:
    """Return the evidence that packets were merged between the samples; empty if there is none."""
    risen = rises(snapshot, port.name) or {}
    found: dict[str, object] = {n: rise for n, rise in risen.items() if rise and _MERGED.search(n)}
    size = mean_bytes(snapshot, port)
    if size is not None and port.mtu is not None and size > port.mtu + _HEADER_BYTES:
        found["mean_received_bytes"] = round(size)
    return found


def _off(snapshot: Snapshot, port: Interface) -> Fix:
    row = CardValues(port.name, FEATURES, {"rx-lro": 0})
    return commands(snapshot, "turn-lro-off", f"Turn LRO off on {port.name}", (row,))


def _driver(port: Interface) -> Fix:
    title = f"Load {port.driver or 'the driver'} without LRO, because ethtool cannot turn LRO off"
    return Fix("load-driver-without-lro", title, Risk.DISRUPTIVE)
