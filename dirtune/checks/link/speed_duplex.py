import re

from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, inconclusive
from dirtune.checks.link import cards, logged
from dirtune.collect.net import Interface
from dirtune.snapshot import Snapshot

_DOWNSHIFT = re.compile(r"downgraded by SmartSpeed|Downshift occurred")
_DOWN = re.compile(r"Link is Down", re.IGNORECASE)


@check("link/speed-duplex", severity=Severity.HIGH, trust="A", needs=("interfaces",))
def speed_duplex(snapshot: Snapshot) -> Verdicts:
    """A link runs in half duplex, or slower than it could.

    ## What it does
    The check examines the physical interfaces that are up. Half duplex is `critical`. A link is
    `high` if it is slower than another link in the same bond or with the same driver. It is also
    `high` if the kernel log says that the link last came up at a lower speed than both ends
    support (downshift, SmartSpeed). Links without a speed (virtio) and bonds themselves are not
    reported.

    ## Why it matters
    If one end is half duplex and the other end is full duplex, collisions and CRC errors leave
    only a few Mbit/s. A 10 Gbit/s port that runs at 1 Gbit/s limits all traffic through this port.

    ## Remediation
    Check the cable, the transceiver, the switch port and the autonegotiation of both ends
    (`ethtool IF`).

    ## Known problems
    The check does not read the speeds that both ends support. It does not notice a slow NIC that
    is the only one with its driver, if the log has no message. If ports with the same driver have
    different speeds on purpose, waive the finding.

    ## References
    - ethtool(8)
    - Documentation/ABI/testing/sysfs-class-net, `speed`, `duplex`
    """
    known = cards(snapshot)
    for port in known:
        peer, name = _faster(port, known), port.name
        if port.duplex == "half":
            yield _finding(port, Severity.CRITICAL, f"{name} runs in half duplex{_at(port)}", None)
        elif peer:
            message = (
                f"{name} runs at {port.speed_mbps} Mbit/s, but {peer.name}, which "
                f"{_group(port, peer)}, runs at {peer.speed_mbps} Mbit/s"
            )
            yield _finding(port, Severity.HIGH, message, peer)
        elif _downshifted(snapshot, port):
            message = f"{name} came up at a lower speed than both ends support{_at(port)}"
            yield _finding(port, Severity.HIGH, message, None)
    if known and all(i.speed_mbps is None and i.duplex != "half" for i in known):
        yield inconclusive("the link speed of every interface that is up is unknown")


def _at(interface: Interface) -> str:
    return "" if interface.speed_mbps is None else f", at {interface.speed_mbps} Mbit/s"


def _faster(interface: Interface, among: tuple[Interface, ...]) -> Interface | None:
    """Return the fastest interface with the same bond or driver; None if none is faster."""
    peers = [
        i
        for i in among
        if (i.speed_mbps or 0) > (interface.speed_mbps or 0)
        and ((i.master and i.master == interface.master) or (i.driver == interface.driver))
    ]
    if interface.speed_mbps is None or not (interface.driver or interface.master):
        return None
    return max(peers, key=lambda i: i.speed_mbps or 0, default=None)


def _group(interface: Interface, peer: Interface) -> str:
    if interface.master and interface.master == peer.master:
        return f"also belongs to {interface.master}"
    return f"has the same driver {interface.driver}"


def _downshifted(snapshot: Snapshot, port: Interface) -> bool:
    downshifted = False
    for _, text in logged(snapshot, port):
        downshifted = not _DOWN.search(text) and (downshifted or bool(_DOWNSHIFT.search(text)))
    return downshifted


def _finding(
    interface: Interface, severity: Severity, message: str, peer: Interface | None
) -> Finding:
    return Finding(
        subject=interface.name,
        severity=severity,
        message=message,
        evidence={
            "driver": interface.driver,
            "speed_mbps": interface.speed_mbps,
            "duplex": interface.duplex,
            "peer": peer and peer.name,
            "peer_speed_mbps": peer and peer.speed_mbps,
        },
        fixes=(
            Fix(
                "repair-negotiation",
                (
                    "Check the cable, the transceiver, the switch port and the autonegotiation "
                    "of both ends"
                ),
                Risk.DISRUPTIVE,
            ),
        ),
    )
