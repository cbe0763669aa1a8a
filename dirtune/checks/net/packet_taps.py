from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, inconclusive
from dirtune.checks.ipvs import vips
from dirtune.checks.net import pps
from dirtune.checks.remedies import commands
from dirtune.collect.net import Interface
from dirtune.snapshot import Snapshot

_EVERY_PACKET = 0x0003  # ETH_P_ALL
_HIGH_PPS = 100_000
_LOOPBACK = 772
# They ask for every packet too, with a filter that lets next to none through.
_FILTERING = ("dhclient", "dhcpcd", "lldpd", "udhcpc")
_ALL = "all interfaces"


@check(
    "net/packet-taps",
    severity=Severity.HIGH,
    trust="B",
    needs=("packet", "interfaces"),
    roles=("director",),
)
def packet_taps(snapshot: Snapshot) -> Verdicts:
    """Somebody takes a copy of every packet of an interface.

    ## What it does
    Reports packet sockets of all protocols (`Proto 0003` in /proc/net/packet) that listen on a
    physical interface, the bond or bridge above it, one that holds a virtual address, or on all:
    `high` at 100,000 packets/s or more there, else `medium`. An interface that is promiscuous
    without such a socket, and in no bridge or bond, is `low`. Sockets of one protocol (LLDP, ARP,
    a DHCP client) and AF_XDP are left alone.

    ## Why it matters
    For each packet and each socket the kernel runs a filter, and where the filter lets the packet
    through it clones and queues it, on the CPU that forwards. A promiscuous card also hands over
    what is meant for others.

    ## Remediation
    Stop the capture, or give it a filter that lets few packets through. `ss -0 -p` shows whose
    socket it is. `ip link set dev IF promisc off` undoes what an administrator set.

    ## Known problems
    A socket's filter and owner are in no file that is read: where dhclient, dhcpcd, lldpd or
    udhcpc runs, whose sockets of all protocols are filtered, and nothing is promiscuous, it is
    left open whose they are. Taps that a kernel module makes are not seen. A macvlan in
    passthru mode makes its parent promiscuous too.

    ## References
    - packet(7)
    - net/packet/af_packet.c, `packet_rcv()`
    """
    assert snapshot.packet is not None
    counted: dict[int, int] = {}
    for socket in snapshot.packet:
        if socket.protocol == _EVERY_PACKET and socket.running:
            counted[socket.ifindex] = counted.get(socket.ifindex, 0) + 1
    if counted.get(0):
        physical = tuple(i for i in snapshot.interfaces or () if i.physical)
        yield from _tapped(snapshot, _ALL, physical, counted[0])
    for each in _carrying(snapshot):
        sockets = counted.get(each.ifindex or -1, 0)
        if sockets:
            yield from _tapped(snapshot, each.name, (each,), sockets)
        elif each.promiscuous and each.physical and not each.master and not counted.get(0):
            yield _promiscuous(snapshot, each)


def _carrying(snapshot: Snapshot) -> tuple[Interface, ...]:
    """Return the interfaces that carry services' packets, as far as can be told."""
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
    doubt = None if promiscuous else _doubt(snapshot)
    if doubt:
        yield inconclusive(f"{subject}: {doubt}")
        return
    rate = pps(snapshot, on)
    busy = rate is not None and rate >= _HIGH_PPS
    at = "" if rate is None else f" at {rate:,.0f} packets/s"
    yield Finding(
        subject=subject,
        severity=Severity.HIGH if busy else Severity.MEDIUM,
        message=f"{sockets} socket{'s' * (sockets > 1)} of all protocols see every packet{at}",
        evidence={
            "interfaces": [i.name for i in on],
            "sockets": sockets,
            "promiscuous": promiscuous,
            "packets_per_second": None if rate is None else round(rate),
        },
        fixes=(
            Fix("stop-capture", "Stop the capture or filter it; ss -0 -p names it", Risk.SAFE),
        ),
    )


def _doubt(snapshot: Snapshot) -> str | None:
    """Return why sockets of all protocols may be filtered ones, None if nothing says so."""
    if snapshot.processes is None:
        return "whose socket of all protocols it is is not known"
    names = {p.name for p in snapshot.processes if not p.kernel}
    found = sorted(name for name in _FILTERING if name in names)
    return f"its socket of all protocols may be {found[0]}'s, which is filtered" if found else None


def _promiscuous(snapshot: Snapshot, interface: Interface) -> Finding:
    return Finding(
        subject=interface.name,
        severity=Severity.LOW,
        message="is promiscuous, though no socket here takes every packet",
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
                "Take only what is meant for this host",
                (("ip", "link", "set", "dev", interface.name, "promisc", "off"),),
            ),
        ),
    )
