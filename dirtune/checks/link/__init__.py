"""Checks of NICs' links, and the helper functions that they share."""

import re
from collections.abc import Mapping

from dirtune.analyse import rates
from dirtune.checks.counters import age_s, before
from dirtune.checks.log_devices import by_name
from dirtune.checks.once import once
from dirtune.collect import log_messages
from dirtune.collect.log_messages import LogLine
from dirtune.collect.net import Interface
from dirtune.snapshot import Snapshot

_PCI = re.compile(r"([0-9a-f]+):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])")
_PHYS = 32  # addresses on an MDIO bus
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


def logged(snapshot: Snapshot, interface: Interface) -> tuple[tuple[float | None, str], ...]:
    """Return age (in seconds, None if unknown) and text of messages about an interface's link.

    Messages of phylib name the PHY instead of the interface.
    """
    lines = _link_lines(snapshot)
    if not lines:
        return ()
    names = (interface.name, interface.phy, *_phys(interface))
    mine = {number: line for name in names for number, line in lines.get(name or "", ())}
    return tuple((age_s(snapshot, line), line.text) for _, line in sorted(mine.items()))


@once
def _link_lines(snapshot: Snapshot) -> Mapping[str, list[tuple[int, LogLine]]]:
    return by_name(snapshot, log_messages.LINK)


def _phys(interface: Interface) -> tuple[str, ...]:
    """Return the names that phylib may give the PHY of a PCI NIC, if sysfs does not tell it.

    Drivers name the MDIO bus after the PCI function: r8169 (`r8169-2200`, later `r8169-0-2200`),
    tg3 (`2200`), lan743x (`pci-0000:22:00.0`). The PHY's address on that bus follows.
    """
    if interface.phy or interface.pci is None:
        return ()
    address = _PCI.fullmatch(interface.pci)
    if address is None:
        return ()
    domain, bus, slot, function = (int(part, 16) for part in address.groups())
    number = f"{bus << 8 | slot << 3 | function:x}"
    driver = interface.driver or ""
    buses = (f"{driver}-{number}", f"{driver}-{domain:x}-{number}", number, f"pci-{interface.pci}")
    return tuple(f"{name}:{phy:02x}" for name in buses for phy in range(_PHYS))
