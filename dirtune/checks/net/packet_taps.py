from dirtune.checks import Finding, Fix, Risk, Role, Severity, Verdicts, check, inconclusive
from dirtune.checks.ipvs import vips
from dirtune.checks.net import pps
from dirtune.checks.remedies import commands
from dirtune.collect.net import Interface
from dirtune.collect.packet import PacketSocket
from dirtune.snapshot import Snapshot

_EVERY_PACKET = 0x0003  # ETH_P_ALL
_HIGH_PPS = 100_000
_LOOPBACK = 772
# These programs ask for every packet too, but their filter lets hardly any packet through.
_FILTERING = ("dhclient", "dhcpcd", "lldpd", "udhcpc")
_ALL = "all interfaces"


@check(
    "net/packet-taps",
    severity=Severity.HIGH,
    trust="B",
    roles=(Role.DIRECTOR,),
)
def packet_taps(
    snapshot: Snapshot, packet: tuple[PacketSocket, ...], interfaces: tuple[Interface, ...]
) -> Verdicts:
    """A program takes a copy of every packet of an interface.

    ## What it does
    The check reports packet sockets for all protocols (`Proto 0003` in /proc/net/packet). It
    examines sockets on all interfaces, on a physical interface, on a bond or bridge with a
    physical port, and on an interface with a virtual address. The finding is `high` if these
    interfaces carry 100,000 packets/s or more, else `medium`. A promiscuous interface without such
    a socket is `low`, unless it belongs to a bridge or bond. Sockets for one protocol (LLDP, ARP,
    a DHCP client) and AF_XDP are not reported.

    ## Why it matters
    For each packet, the kernel runs the filter of each socket. If the filter accepts the packet,
    the kernel clones and queues it, on the CPU that forwards. A promiscuous NIC also delivers
    packets for other hosts.

    ## Remediation
    Stop the capture, or give it a filter that accepts few packets. `ss -0 -p` shows the owner of
    the socket. If an administrator made the interface promiscuous, run `ip link set dev IF promisc
    off`.

    ## Known problems
    The check cannot read a socket's filter and owner. dhclient, dhcpcd, lldpd and udhcpc have
    filtered sockets for all protocols: if one of these programs runs and no interface is
    promiscuous, the check is inconclusive. The check does not see taps that a kernel module makes.
    A macvlan in passthru mode makes its parent promiscuous too.

    ## References
    - packet(7)
    - net/packet/af_packet.c, `packet_rcv()`
    """
    counted: dict[int, int] = {}
    for socket in packet:
        if socket.protocol == _EVERY_PACKET and socket.running:
            counted[socket.ifindex] = counted.get(socket.ifindex, 0) + 1
    if counted.get(0):
        physical = tuple(i for i in interfaces if i.physical)
        yield from _tapped(snapshot, _ALL, physical, counted[0])
    for port in _carrying(snapshot):
        sockets = counted.get(port.ifindex or -1, 0)
        if sockets:
            yield from _tapped(snapshot, port.name, (port,), sockets)
        elif port.promiscuous and port.physical and not port.master and not counted.get(0):
            yield _promiscuous(snapshot, port)


def _carrying(snapshot: Snapshot) -> tuple[Interface, ...]:
    """Return the interfaces that are known to carry packets of services."""
    known = snapshot.interfaces or ()
    above = {i.master for i in known if i.physical and i.master}
    ours = vips(snapshot)
    holding = {a.interface for a in snapshot.interface_addresses or () if a.address in ours}
    return tuple(
        i
        for i in known
        if i.type != _LOOPBACK and (i.physical or i.name in above or i.name in holding)
    )


def _tapped(snapshot: Snapshot, subject: str, on: tuple[Interface, ...], sockets: int) -> Verdicts:
    promiscuous = any(i.promiscuous for i in on)
    doubt = None if promiscuous else _doubt(snapshot, subject)
    if doubt:
        yield inconclusive(doubt)
        return
    rate = pps(snapshot, on)
    busy = rate is not None and rate >= _HIGH_PPS
    load = "" if rate is None else f" ({rate:,.0f} packets/s)"
    sees = (
        "packet socket for all protocols receives"
        if sockets == 1
        else "packet sockets for all protocols receive"
    )
    yield Finding(
        subject=subject,
        severity=Severity.HIGH if busy else Severity.MEDIUM,
        message=f"{sockets} {sees} every packet of {subject}{load}",
        evidence={
            "interfaces": [i.name for i in on],
            "sockets": sockets,
            "promiscuous": promiscuous,
            "packets_per_second": None if rate is None else round(rate),
        },
        fixes=(
            Fix(
                "stop-capture",
                "Stop the capture or filter it; `ss -0 -p` shows the program",
                Risk.SAFE,
            ),
        ),
    )


def _doubt(snapshot: Snapshot, subject: str) -> str | None:
    """Return why the packet sockets on *subject* may use a filter; None if there is no reason."""
    if snapshot.processes is None:
        return f"the owner of the packet socket on {subject} is unknown"
    names = {p.name for p in snapshot.processes if not p.kernel}
    owners = sorted(name for name in _FILTERING if name in names)
    if not owners:
        return None
    return f"the packet socket on {subject} may belong to {owners[0]}, which filters packets"


def _promiscuous(snapshot: Snapshot, interface: Interface) -> Finding:
    return Finding(
        subject=interface.name,
        severity=Severity.LOW,
        message=f"{interface.name} is promiscuous, although no packet socket receives every "
        "packet",
        evidence={
            "interfaces": [interface.name],
            "sockets": 0,
            "promiscuous": True,
            "flags": interface.flags,
        },
        fixes=(
            commands(
                snapshot,
                "leave-promiscuous-mode",
                f"Turn promiscuous mode off on {interface.name}",
                (("ip", "link", "set", "dev", interface.name, "promisc", "off"),),
            ),
        ),
    )
