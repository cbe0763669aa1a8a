"""/sys/class/net: network interfaces with their queues, counters and devices.

Files: net/core/net-sysfs.c. The target of an interface's link contains the device it belongs to:
`../../devices/pci0000:00/0000:00:03.0/virtio2/net/eth0`. Targets of VLANs, bridges and tunnels
contain `/virtual/`. `speed` and `duplex` cannot be read while an interface is down, and `xps_cpus`
cannot be read if a device has only one queue.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from dirtune.collect.files import link_of, number_in, text_in
from dirtune.collect.net_dev import SOURCES as NET_DEV_SOURCES
from dirtune.collect.net_dev import read_net_dev
from dirtune.collect.pci import addresses_in
from dirtune.cpu_sets import parse_cpumask
from dirtune.errors import SourceMissing
from dirtune.host import Host, literal

_CLASS = "/sys/class/net"
_STATISTICS = (
    *("rx_packets", "tx_packets", "rx_bytes", "tx_bytes", "rx_dropped", "rx_missed_errors"),
    *("rx_fifo_errors", "rx_over_errors", "rx_crc_errors", "rx_length_errors", "rx_errors"),
    "tx_errors",
)
_FACTS = (
    *("operstate", "carrier_changes", "speed", "duplex", "mtu", "type", "flags", "ifindex"),
    *("threaded", "gro_flush_timeout", "napi_defer_hard_irqs"),
)
SOURCES = (
    f"{_CLASS}/*",
    f"{_CLASS}/*/master",
    f"{_CLASS}/*/device/driver",
    f"{_CLASS}/*/phydev",
    *(f"{_CLASS}/*/{name}" for name in _FACTS),
    *(f"{_CLASS}/*/statistics/{name}" for name in _STATISTICS),
    f"{_CLASS}/*/queues/rx-*/rps_cpus",
    f"{_CLASS}/*/queues/rx-*/rps_flow_cnt",
    f"{_CLASS}/*/queues/tx-*/xps_cpus",
    *NET_DEV_SOURCES,
)
_VIRTIO = re.compile(r"/(virtio\d+)/")
_PROMISCUOUS = 0x100


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue of an interface."""

    name: str
    """`rx-0`, `tx-0`."""
    cpus: tuple[int, ...] | None
    """CPUs for RPS or XPS; empty means off, None means unknown."""
    flows: int | None = None
    """Size of the RFS table of a receive queue; 0 means off."""


@dataclass(frozen=True, slots=True)
class Interface:
    """One network interface; a field is None if it is unknown."""

    name: str
    pci: str | None
    """Address of the interface's PCI function; None if it is virtual or on another bus."""
    virtio: str | None
    """Name of the virtio device (`virtio2`); None for any other device."""
    physical: bool | None
    """Whether the interface is a NIC, real or emulated; None if only /proc was recorded."""
    rx_packets: int | None
    tx_packets: int | None
    driver: str | None = None
    operstate: str | None = None
    """up, down, unknown (lo and tunnels), lowerlayerdown, ..."""
    carrier_changes: int | None = None
    speed_mbps: int | None = None
    """Link speed in Mbit/s; None if the link is down or the device (virtio) reports no speed."""
    duplex: str | None = None
    mtu: int | None = None
    """MTU in bytes."""
    type: int | None = None
    """ARPHRD number: 1 Ethernet, 772 loopback, 768 IP-in-IP tunnel."""
    flags: int | None = None
    ifindex: int | None = None
    master: str | None = None
    """Bond or bridge that the interface belongs to."""
    threaded: bool | None = None
    """Whether NAPI runs in kernel threads."""
    statistics: Mapping[str, int] = field(default_factory=dict)
    """Counters since the interface was created, by the names of their files."""
    phy: str | None = None
    """Name of the PHY in the kernel's messages (`r8169-0-2200:00`); None if unknown."""
    rx_queues: tuple[Queue, ...] = ()
    tx_queues: tuple[Queue, ...] = ()

    @property
    def up(self) -> bool:
        """Whether the interface can carry packets, as far as the kernel knows."""
        return self.operstate in {"up", "unknown"}

    @property
    def promiscuous(self) -> bool | None:
        """Whether the interface accepts every frame (set by hand, or by a socket or a bridge)."""
        return None if self.flags is None else bool(self.flags & _PROMISCUOUS)


def read_interfaces(host: Host) -> tuple[Interface, ...]:
    """Read every interface of this network namespace."""
    paths = [path for path in host.glob(f"{_CLASS}/*") if not path.endswith("/bonding_masters")]
    return tuple(_interface(host, path) for path in paths) or _counted_only(host)


def _counted_only(host: Host) -> tuple[Interface, ...]:
    try:
        devices = read_net_dev(host)
    except SourceMissing as error:
        raise SourceMissing(f"{_CLASS} has no interface on this host") from error
    return tuple(
        Interface(
            name,
            None,
            None,
            physical=None,
            rx_packets=counters["rx_packets"],
            tx_packets=counters["tx_packets"],
            statistics=counters,
        )
        for name, counters in devices.items()
    )


def _interface(host: Host, path: str) -> Interface:
    target = link_of(host, path)
    virtio = _VIRTIO.search(target)
    counted = ((name, number_in(host, f"{path}/statistics/{name}")) for name in _STATISTICS)
    statistics = {name: value for name, value in counted if value is not None}
    speed = number_in(host, f"{path}/speed")
    threaded = number_in(host, f"{path}/threaded")
    return Interface(
        name=path.rsplit("/", 1)[1],
        pci=next(iter(addresses_in(target)[-1:]), None),
        virtio=virtio[1] if virtio else None,
        physical=bool(target) and "/virtual/" not in target,
        rx_packets=statistics.get("rx_packets"),
        tx_packets=statistics.get("tx_packets"),
        driver=link_of(host, f"{path}/device/driver").rpartition("/")[2] or None,
        operstate=text_in(host, f"{path}/operstate"),
        carrier_changes=number_in(host, f"{path}/carrier_changes"),
        speed_mbps=speed if speed and speed > 0 else None,
        duplex=text_in(host, f"{path}/duplex"),
        mtu=number_in(host, f"{path}/mtu"),
        type=number_in(host, f"{path}/type"),
        flags=number_in(host, f"{path}/flags", 16),
        ifindex=number_in(host, f"{path}/ifindex"),
        master=link_of(host, f"{path}/master").rpartition("/")[2] or None,
        threaded=None if threaded is None else bool(threaded),
        statistics=statistics,
        phy=link_of(host, f"{path}/phydev").rpartition("/")[2] or None,
        rx_queues=_queues(host, path, "rx", "rps_cpus"),
        tx_queues=_queues(host, path, "tx", "xps_cpus"),
    )


def _queues(host: Host, path: str, kind: str, mask: str) -> tuple[Queue, ...]:
    queues = []
    for each in host.glob(f"{literal(path)}/queues/{kind}-*"):
        text = text_in(host, f"{each}/{mask}")
        cpus = None if not text else parse_cpumask(text)
        queues.append(Queue(each.rsplit("/", 1)[1], cpus, number_in(host, f"{each}/rps_flow_cnt")))
    return tuple(sorted(queues, key=lambda queue: int(queue.name.partition("-")[2])))
