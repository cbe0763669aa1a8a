"""/sys/class/net: network interfaces, and which virtio device is which.

Files: net/core/net-sysfs.c. The link of an interface leads through the device it belongs to:
`../../devices/pci0000:00/0000:00:03.0/virtio2/net/eth0`.
"""

import re
from dataclasses import dataclass

from dirtune.collect.pci import addresses_in
from dirtune.errors import ParseError, SourceMissing, SourceRefused
from dirtune.host import Host

_CLASS = "/sys/class/net"
SOURCES = (
    f"{_CLASS}/*",
    f"{_CLASS}/*/statistics/rx_packets",
    f"{_CLASS}/*/statistics/tx_packets",
)
_VIRTIO = re.compile(r"/(virtio\d+)/")


@dataclass(frozen=True, slots=True)
class Interface:
    """One network interface."""

    name: str
    pci: str | None
    """Address of the PCI function it belongs to; None for a virtual one or another bus."""
    virtio: str | None
    """`virtio2` where it is a virtio device."""
    physical: bool
    """Whether hardware, real or emulated, is behind it."""
    rx_packets: int | None
    tx_packets: int | None


def read_interfaces(host: Host) -> tuple[Interface, ...]:
    """Read every interface of this network namespace."""
    paths = [path for path in host.glob(f"{_CLASS}/*") if not path.endswith("/bonding_masters")]
    if not paths:
        raise SourceMissing(f"{_CLASS}: no interfaces on this host")
    return tuple(_interface(host, path) for path in paths)


def _interface(host: Host, path: str) -> Interface:
    try:
        target = host.link(path)
    except SourceMissing:
        target = ""
    virtio = _VIRTIO.search(target)
    return Interface(
        name=path.rsplit("/", 1)[1],
        pci=next(iter(addresses_in(target)[-1:]), None),
        virtio=virtio[1] if virtio else None,
        physical=bool(target) and "/virtual/" not in target,
        rx_packets=_count(host, f"{path}/statistics/rx_packets"),
        tx_packets=_count(host, f"{path}/statistics/tx_packets"),
    )


def _count(host: Host, path: str) -> int | None:
    try:
        return int(host.read(path))
    except (SourceMissing, SourceRefused):
        return None
    except ValueError as error:
        raise ParseError(path, "not a number") from error
