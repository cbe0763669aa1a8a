"""Checks of the network stack, and the helper functions that they share."""

from collections.abc import Iterable

from dirtune.analyse import rates
from dirtune.collect.net import Interface
from dirtune.snapshot import Snapshot

# VRRP daemons, cluster managers and balancers that take addresses away from a backup.
_MOVERS = (
    *("keepalived", "vrrpd", "ucarp", "corosync", "pacemakerd", "heartbeat", "seesaw_"),
    *("kube-router", "kube-proxy", "wackamole"),
)


def pps(snapshot: Snapshot, interfaces: Iterable[Interface]) -> float | None:
    """Return the packets/s of all *interfaces*; None if none has counters in both samples."""
    before = {i.name: i for i in (snapshot.earlier and snapshot.earlier.interfaces) or ()}
    counts = []
    for interface in interfaces:
        then = before.get(interface.name)
        rise = rates.increase(rates.packets(then), rates.packets(interface)) if then else None
        if rise is not None:
            counts.append(rise)
    return sum(counts) / snapshot.seconds if counts and snapshot.seconds else None


def address_mover(snapshot: Snapshot) -> str | None:
    """Return the running program that moves virtual addresses between directors.

    Return an empty name if none is running, and None if the processes are unknown.
    """
    if snapshot.processes is None:
        return None
    names = (p.name for p in snapshot.processes if not p.kernel)
    return next((name for name in names if name.startswith(_MOVERS)), "")
