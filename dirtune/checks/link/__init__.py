"""Checks of NICs' links, and the helper functions that they share."""

import re

from dirtune.analyse import rates
from dirtune.checks.counters import before
from dirtune.collect.net import Interface
from dirtune.snapshot import Snapshot

# Drivers of virtual NICs, whose link speed and slot have no meaning.
MADE_UP = frozenset(
    {"virtio_net", "vmxnet3", "e1000", "e1000e", "8139cp", "8139too", "pcnet32", "hv_netvsc"}
    | {"igb", "xen-netfront", "vif", "ena", "gve"}
)


def cards(snapshot: Snapshot) -> tuple[Interface, ...]:
    """Return the physical interfaces that are up."""
    return tuple(i for i in snapshot.interfaces or () if i.physical and i.operstate == "up")


def rise(snapshot: Snapshot, interface: Interface, counter: str) -> int | None:
    """Return how much an interface's sysfs counter rose between the samples; None if unknown."""
    then = before(snapshot, interface.name)
    if then is None:
        return None
    return rates.increase(then.statistics.get(counter), interface.statistics.get(counter))


def logged(snapshot: Snapshot, interface: str) -> tuple[tuple[float | None, str], ...]:
    """Return age (in seconds, None if unknown) and text of kernel messages about an interface."""
    name = re.compile(rf"(?<![\w.-]){re.escape(interface)}(?![\w.-])")
    now = snapshot.taken_s
    return tuple(
        (None if now is None or row.seconds is None else now - row.seconds, row.text)
        for row in snapshot.kernel_log or ()
        if interface in row.text and name.search(row.text)
    )
