from dirtune.analyse.losses import Loss
from dirtune.checks import Finding, Severity, Verdicts, check, inconclusive, uncounted
from dirtune.checks.counters import card, loss
from dirtune.checks.nic import ENOUGH, for_latency, longer_ring, ports
from dirtune.collect.net import Interface
from dirtune.snapshot import Snapshot

_PART = 4  # of the maximum: a ring of a quarter or less
_FAST_MBPS = 10_000


@check(
    "nic/ring-below-max",
    severity=Severity.MEDIUM,
    trust="B",
    needs=("interfaces", "ethtool"),
)
def ring_below_max(snapshot: Snapshot) -> Verdicts:
    """A receive ring is far shorter than the NIC allows.

    ## What it does
    The check reports a receive ring that is a quarter of the NIC's maximum or shorter. The finding
    is `medium` if the NIC lost packets between the samples because the ring was full. Without a
    known loss, the check reports only links of 10 Gbit/s or more whose ring is shorter than 1,024
    descriptors, as `info`. It does not report virtio, whose ring the hypervisor sets, and hosts
    with a tuned profile for low latency.

    ## Why it matters
    At 1.5 million packets/s, 256 descriptors hold the traffic of 170 us, which is less than one
    tick of the scheduler.

    ## Remediation
    Run `ethtool -G IF rx N`. Many drivers reset the port: the link goes down and up, and VRRP may
    fail over, so start with the backup director. The same command with the old value undoes the
    change. A ring that does not fit into the cache causes cache misses, so stop at the size that
    ends the loss, often 1,024 or 2,048. Keep the setting with `RxBufferSize=` in a systemd.link(5)
    file or a udev rule.

    ## Known problems
    The check also reports a ring that somebody made short on purpose without a tuned profile.

    ## References
    - ethtool(8), `-g` and `-G`
    """
    if for_latency(snapshot):
        return
    for port in ports(snapshot):
        rings = card(snapshot, port.name).rings or {}
        now, most = rings.get("rx"), rings.get("rx_max")
        if not now or not most or now > most / _PART or port.driver == "virtio_net":
            continue
        yield from _judged(snapshot, port, now, most)


def _judged(snapshot: Snapshot, port: Interface, now: int, most: int) -> Verdicts:
    lost = loss(snapshot, port)
    fast = port.speed_mbps is not None and port.speed_mbps >= _FAST_MBPS
    overflows = lost is not None and bool(lost.packets or lost.stalls)
    if overflows or (fast and now < ENOUGH):
        yield _finding(snapshot, port, (now, most), lost)
    elif lost is None and not fast:
        yield uncounted(
            snapshot, f"two samples are needed to see whether {port.name} loses packets"
        )
    elif port.speed_mbps is None and now < ENOUGH:
        yield inconclusive(f"the speed of {port.name} is unknown")


def _finding(
    snapshot: Snapshot, port: Interface, ring: tuple[int, int], lost: Loss | None
) -> Finding:
    now, most = ring
    overflows = lost is not None and bool(lost.packets or lost.stalls)
    overflow = ", and it overflows" if overflows else ""
    return Finding(
        subject=port.name,
        severity=Severity.MEDIUM if overflows else Severity.INFO,
        message=f"The receive ring of {port.name} has {now} of {most} possible "
        f"descriptors{overflow}",
        evidence={
            "rx_descriptors": now,
            "rx_max_descriptors": most,
            "speed_mbps": port.speed_mbps,
            "lost_packets": lost.packets if lost else None,
        },
        fixes=longer_ring(snapshot, port.name),
    )
