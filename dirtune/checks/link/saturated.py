from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, inconclusive
from dirtune.checks.link import MADE_UP, cards, rise
from dirtune.collect.net import Interface
from dirtune.snapshot import Snapshot

_HIGH_PERCENT, _MEDIUM_PERCENT = 90, 75
_ON_WIRE = 24  # bytes of each packet that no counter includes: preamble, gap, checksum
_SHORTEST = 60  # bytes of a frame without its checksum; shorter ones are padded


@check(
    "link/saturated",
    severity=Severity.HIGH,
    trust="A",
    needs=("interfaces",),
    traffic=True,
)
def saturated(snapshot: Snapshot) -> Verdicts:
    """A link is nearly fully used.

    ## What it does
    The check compares the traffic of each physical interface between two samples with the speed of
    its link, in each direction. 90 % or more is `high`, 75 % or more is `medium`. The check adds
    24 bytes for each packet (preamble, gap and checksum), and counts a shorter packet as 60 bytes.
    A 10 Gbit/s link is therefore full at 14.88 million short packets/s. Links without a speed, and
    virtual NICs, are not reported.

    ## Why it matters
    If the link is full, no setting of the host helps, and the CPUs are not the cause of lost
    packets.

    ## Remediation
    Add a second link (bonding) or a second director. Or use direct routing instead of NAT, so that
    replies bypass the director.

    ## Known problems
    Packets that the NIC merged count once, so the true load is a little higher. The functions of
    one port (SR-IOV) count separately. The check does not see bursts that are shorter than the
    time between the samples.

    ## References
    - IEEE 802.3, clause 4.4 (gap), 3.1.1 (preamble)
    """
    known = [i for i in cards(snapshot) if i.speed_mbps and not _made_up(snapshot, i)]
    for interface in known:
        loads = {way: _percent(snapshot, interface, way) for way in ("rx", "tx")}
        measured = {way: load for way, load in loads.items() if load is not None}
        if measured and max(measured.values()) >= _MEDIUM_PERCENT:
            yield _finding(snapshot, interface, measured)
    if not known:
        yield inconclusive("the link speed of every interface that is up is unknown")


def _made_up(snapshot: Snapshot, interface: Interface) -> bool:
    guest = snapshot.cpuinfo.guest if snapshot.cpuinfo else None
    return guest is not False and interface.driver in MADE_UP


def _percent(snapshot: Snapshot, interface: Interface, way: str) -> float | None:
    counted = rise(snapshot, interface, f"{way}_bytes")
    packets = rise(snapshot, interface, f"{way}_packets")
    if counted is None or packets is None or not snapshot.seconds or not interface.speed_mbps:
        return None
    on_wire = max(counted, _SHORTEST * packets) + _ON_WIRE * packets
    return 100 * on_wire * 8 / snapshot.seconds / (interface.speed_mbps * 1e6)


def _finding(snapshot: Snapshot, interface: Interface, loads: dict[str, float]) -> Finding:
    way = max(loads, key=lambda direction: loads[direction])
    word = {"rx": "received", "tx": "sent"}[way]
    packets = rise(snapshot, interface, f"{way}_packets") or 0
    return Finding(
        subject=interface.name,
        severity=Severity.HIGH if loads[way] >= _HIGH_PERCENT else Severity.MEDIUM,
        message=f"{interface.name} {word} at {loads[way]:.0f} % of its link speed, "
        f"{interface.speed_mbps} Mbit/s",
        evidence={
            "speed_mbps": interface.speed_mbps,
            "percent": {name: round(load, 1) for name, load in loads.items()},
            "direction": way,
            "packets_per_second": round(packets / (snapshot.seconds or 1)),
            "seconds": snapshot.seconds,
        },
        fixes=(
            Fix(
                "add-capacity",
                "Add a link or a director, or let replies bypass the director (direct routing)",
                Risk.DISRUPTIVE,
            ),
        ),
    )
