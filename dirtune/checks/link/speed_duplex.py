import re

from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, inconclusive
from dirtune.checks.link import cards, logged
from dirtune.collect.net import Interface
from dirtune.snapshot import Snapshot

_DOWNSHIFT = re.compile(r"downgraded by SmartSpeed|Downshift occurred")
_DOWN = re.compile(r"Link is Down", re.IGNORECASE)


@check("link/speed-duplex", severity=Severity.HIGH, trust="A", needs=("interfaces",))
def speed_duplex(snapshot: Snapshot) -> Verdicts:
    """A link runs slower than it could.

    ## What it does
    Of the physical interfaces that are up: half duplex is `critical`. A link that is slower than
    another of the same bond, or of the same driver, and one of which the kernel's log says since
    it last went down that it was brought up slower (downshift, SmartSpeed), is `high`. Links
    without a speed (virtio) and bonds themselves are left alone.

    ## Why it matters
    Where one end is half duplex and the other is not, collisions and CRC errors leave a few
    Mbit/s. A 10 Gbit/s port that fell back to 1 Gbit/s caps everything behind it.

    ## Remediation
    By hand: look at cable, transceiver, switch port and autonegotiation of both ends
    (`ethtool IF`).

    ## Known problems
    What both ends could do is not read: a card that is alone of its driver, and fell back without
    a word in the log, is not seen. Ports of one driver that are meant to have different speeds are
    reported: waive them.

    ## References
    - ethtool(8)
    - Documentation/ABI/testing/sysfs-class-net, `speed`, `duplex`
    """
    known = cards(snapshot)
    for each in known:
        peer = _faster(each, known)
        if each.duplex == "half":
            yield _finding(each, Severity.CRITICAL, f"is half duplex{_at(each)}", None)
        elif peer:
            said = f"runs at {each.speed_mbps} Mbit/s, {peer.name} of {_group(each, peer)} at "
            yield _finding(each, Severity.HIGH, f"{said}{peer.speed_mbps}", peer)
        elif _downshifted(snapshot, each.name):
            said = f"was brought up slower than both ends can{_at(each)}"
            yield _finding(each, Severity.HIGH, said, None)
    if known and all(i.speed_mbps is None and i.duplex != "half" for i in known):
        yield inconclusive("no interface that is up tells a speed")


def _at(interface: Interface) -> str:
    return "" if interface.speed_mbps is None else f", at {interface.speed_mbps} Mbit/s"


def _faster(interface: Interface, among: tuple[Interface, ...]) -> Interface | None:
    """Return the fastest of the same bond or driver that is faster, None without one."""
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
        return f"the same {interface.master}"
    return f"the same driver {interface.driver}"


def _downshifted(snapshot: Snapshot, name: str) -> bool:
    found = False
    for _, text in logged(snapshot, name):
        found = not _DOWN.search(text) and (found or bool(_DOWNSHIFT.search(text)))
    return found


def _finding(
    interface: Interface, severity: Severity, said: str, peer: Interface | None
) -> Finding:
    return Finding(
        subject=interface.name,
        severity=severity,
        message=said,
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
                "Look at cable, transceiver, switch port and autonegotiation of both ends",
                Risk.DISRUPTIVE,
            ),
        ),
    )
