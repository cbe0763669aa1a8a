"""Checks of NICs, and the helper functions that they share."""

import re
from collections.abc import Iterable, Mapping

from dirtune.analyse import rates
from dirtune.checks import Fix, Risk
from dirtune.checks.counters import before, card, loss, rises
from dirtune.checks.irq import ACTIVE_PER_SECOND, vectors_of
from dirtune.checks.remedies import commands
from dirtune.collect.net import Interface
from dirtune.cpu_sets import format_cpumask
from dirtune.settings import RINGS, CardValues, KernelFile
from dirtune.snapshot import Snapshot

# Packets of one receive queue: most of Intel's, virtio and Hyper-V; mlx5 and newer virtio; i40e;
# bnx2x and bnxt; ena; gve; be2net; vmxnet3.
_QUEUE_PACKETS = re.compile(
    r"rx_queue_(\d+)_packets|rx(\d+)_packets|rx-(\d+)\.packets|\[(\d+)\]: rx_ucast_packets"
    r"|queue_(\d+)_rx_cnt|rx_packets\[(\d+)\]|rxq(\d+): rx_pkts|ucast pkts rx\[(\d+)\]"
)
ENOUGH = 1024
"""Descriptors that suffice for most rings; a longer ring causes cache misses."""


def ports(snapshot: Snapshot) -> tuple[Interface, ...]:
    """Return the physical interfaces that can carry packets."""
    return tuple(i for i in snapshot.interfaces or () if i.physical and i.up)


def received(snapshot: Snapshot, port: Interface) -> int | None:
    """Return the number of packets that *port* received between the samples; None if unknown."""
    then = before(snapshot, port.name)
    return rates.increase(then.rx_packets, port.rx_packets) if then else None


def arrived(snapshot: Snapshot, port: Interface) -> int | None:
    """Return the packets that *port* received or lost between the samples; None if unknown."""
    taken, lost = received(snapshot, port), loss(snapshot, port)
    return taken if taken is None or lost is None else taken + lost.packets


def queue_packets(snapshot: Snapshot, name: str) -> Mapping[int, int]:
    """Return the packets that each receive queue took between the samples; empty if unknown.

    The kernel's own counters come first, then those that the driver names for each queue.
    """
    counted = _counted(snapshot, name)
    if counted:
        return counted
    packets: dict[int, int] = {}
    for counter, rise in (rises(snapshot, name) or {}).items():
        match = _QUEUE_PACKETS.fullmatch(counter)
        if match:
            packets[int(next(number for number in match.groups() if number))] = rise
    return packets


def _counted(snapshot: Snapshot, name: str) -> Mapping[int, int]:
    before = _by_queue(snapshot.earlier, name) if snapshot.earlier else {}
    rises = {q: rates.increase(before.get(q), n) for q, n in _by_queue(snapshot, name).items()}
    return {queue: rise for queue, rise in rises.items() if rise is not None}


def _by_queue(snapshot: Snapshot, name: str) -> Mapping[int, int]:
    index = next((i.ifindex for i in snapshot.interfaces or () if i.name == name), None)
    queues = snapshot.netdev.queues if snapshot.netdev and index is not None else ()
    return {
        q.id: q.packets
        for q in queues
        if q.ifindex == index and q.kind == "rx" and q.packets is not None
    }


def mean_bytes(snapshot: Snapshot, port: Interface) -> float | None:
    """Return the mean size of the packets received between the samples; None if unknown."""
    then = before(snapshot, port.name)
    old, now = (then.statistics if then else {}), port.statistics
    packets = rates.increase(old.get("rx_packets"), now.get("rx_packets"))
    size = rates.increase(old.get("rx_bytes"), now.get("rx_bytes"))
    return size / packets if packets and size is not None else None


def serving(snapshot: Snapshot, name: str) -> tuple[int, ...]:
    """Return the CPUs that take an interface's interrupts, by rate or, if unknown, by affinity."""
    vectors = vectors_of(snapshot, name)
    loads = {cpu for v in vectors for cpu, n in (v.rates or {}).items() if n >= ACTIVE_PER_SECOND}
    return tuple(sorted(loads or {cpu for v in vectors for cpu in v.cpus or ()}))


def for_latency(snapshot: Snapshot) -> bool:
    """Whether a tuned profile for low latency is active."""
    return "latency" in ((snapshot.settings_files and snapshot.settings_files.tuned) or "")


def steer(port: Interface, queue: str, cpus: Iterable[int]) -> KernelFile:
    """Return the setting that spreads a queue over *cpus* by RPS; without CPUs, RPS is off."""
    path = f"/sys/class/net/{port.name}/queues/{queue}/rps_cpus"
    return KernelFile(path, format_cpumask(cpus))


def longer_ring(snapshot: Snapshot, name: str) -> tuple[Fix, ...]:
    """Return the fix that lengthens a NIC's ring; empty if the ring cannot be lengthened."""
    rings = card(snapshot, name).rings or {}
    now, most = rings.get("rx"), rings.get("rx_max")
    if now is None or most is None or now >= most:
        return ()
    descriptors = min(most, max(ENOUGH, 2 * now))
    title = (
        f"Enlarge the receive ring from {now} to {descriptors} descriptors; many drivers reset "
        "the port"
    )
    return (
        commands(
            snapshot,
            "lengthen-rx-ring",
            title,
            (CardValues(name, RINGS, {"rx": descriptors}),),
            risk=Risk.DISRUPTIVE,
        ),
    )
