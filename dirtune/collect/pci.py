"""/sys/bus/pci: PCI functions, their drivers, their interrupts and the devices below them.

Files: drivers/pci/pci-sysfs.c and drivers/pci/msi/. `irq` keeps the INTx number even if a function
uses MSI-X, so a function is on an INTx line only if it has no `msi_irqs`. The devices below a
function are found through links in /sys, whose targets contain the addresses of the functions
above them.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dirtune.collect.files import link_of, number_in, text_in, whole_numbers
from dirtune.cpu_sets import parse_cpulist
from dirtune.errors import SourceMissing, SourceRefused
from dirtune.host import Host, literal

_DEVICES = "/sys/bus/pci/devices"
_FUNCTION = "*:*:*.*"
_ENDS, _WHAT = ("current", "max"), ("speed", "width")
_LINKS = {
    "net": "/sys/class/net/*",
    "block": "/sys/class/block/*",
    "input": "/sys/class/input/input*",
    "usb": "/sys/bus/usb/devices/*",
    "virtio": "/sys/bus/virtio/devices/*",
}
SOURCES = (
    f"{_DEVICES}/{_FUNCTION}/class",
    f"{_DEVICES}/{_FUNCTION}/irq",
    *(f"{_DEVICES}/{_FUNCTION}/{end}_link_{what}" for end in _ENDS for what in _WHAT),
    f"{_DEVICES}/{_FUNCTION}/numa_node",
    f"{_DEVICES}/{_FUNCTION}/local_cpulist",
    f"{_DEVICES}/{_FUNCTION}/msi_bus",
    f"{_DEVICES}/{_FUNCTION}/msi_irqs/*",
    f"/sys/bus/pci/drivers/*/{_FUNCTION}",
    *_LINKS.values(),
    "/sys/class/block/*/dev",
    "/sys/class/block/*/holders/*",
)
# Names of devices, by the address of the nearest function above them and the kind of device.
_Below = Mapping[tuple[str, str], tuple[str, ...]]
# A domain has 32 bits; without a length limit, matching a long run of digits is quadratic.
_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_SPEED = re.compile(r"(\d{1,4}(?:\.\d{1,4})?) GT/s")
_USB_DEVICE = re.compile(r"\d+-[\d.]+")


@dataclass(frozen=True, slots=True)
class Link:
    """A PCI Express link."""

    gt_per_s: float
    """Speed of each lane in 10^9 transfers per second."""
    width: int
    """Number of lanes."""


@dataclass(frozen=True, slots=True)
class Block:
    """A disk or partition below a function."""

    name: str
    dev: str | None = None
    """Device number, `8:1`; None if it is unknown."""
    holders: tuple[str, ...] = ()
    """Devices that use the disk or partition: device mapper, RAID, bcache."""


@dataclass(frozen=True, slots=True)
class PciDevice:
    """One PCI function."""

    address: str
    """`0000:00:1f.3`."""
    class_code: int
    """Class, subclass and interface, 24 bits: 0x020000 is Ethernet."""
    driver: str | None = None
    """Bound driver by the name below /sys/bus/pci/drivers; None if none is bound."""
    irq: int | None = None
    """Number of the INTx line or of the single MSI; None if the function has no interrupt."""
    msi_irqs: tuple[int, ...] = ()
    """Linux interrupt numbers of the function's MSI or MSI-X vectors."""
    pcie: bool = False
    """Whether the function is PCI Express; such a function must support MSI if it uses
    interrupts."""
    nets: tuple[str, ...] = ()
    """Network interfaces below the function."""
    virtio: tuple[str, ...] = ()
    """virtio devices below the function (`virtio1`)."""
    blocks: tuple[Block, ...] = ()
    usb: tuple[str, ...] = ()
    """USB devices plugged in below the function (`1-2`), without its root hubs."""
    usb_buses: tuple[str, ...] = ()
    """Root hubs of the function (`usb1`)."""
    inputs: tuple[str, ...] = ()
    """Keyboards and other input devices below the function."""
    bridges: tuple[str, ...] = ()
    """Bridges above the function, outermost first; empty if no device is below the function."""
    numa_node: int | None = None
    """NUMA node; None without NUMA or if the firmware does not name the node (-1)."""
    local_cpus: tuple[int, ...] = ()
    """CPUs of the function's NUMA node; empty if unknown."""
    msi_allowed: bool | None = None
    """`msi_bus`; false on a bridge forbids MSI to all devices below it."""
    link: "Link | None" = None
    """PCI Express link as negotiated; None if there is none or it is unknown."""
    link_max: "Link | None" = None
    """The fastest PCI Express link that the function supports."""

    @property
    def intx(self) -> int | None:
        """The INTx line that the function's driver uses; None with MSI or without a driver."""
        return None if self.msi_irqs or self.driver is None else self.irq


def read_pci(host: Host) -> tuple[PciDevice, ...]:
    """Read every function. Raises `SourceMissing` if the host has no PCI bus."""
    classes = host.glob(f"{_DEVICES}/{_FUNCTION}/class")
    if not classes:
        raise SourceMissing(f"{_DEVICES}: this host has no PCI bus")
    drivers = dict(_drivers(host))
    below = _below(host)
    addresses = [path.rsplit("/", 2)[1] for path in classes]
    return tuple(_function(host, address, drivers.get(address), below) for address in addresses)


def addresses_in(target: str) -> tuple[str, ...]:
    """Return the PCI addresses in a path of the device tree, outermost first."""
    return tuple(_ADDRESS.findall(target))


def _function(host: Host, address: str, driver: str | None, below: _Below) -> PciDevice:
    at = f"{_DEVICES}/{address}"
    usb = below.get((address, "usb"), ())
    return PciDevice(
        address=address,
        class_code=number_in(host, f"{at}/class", 16) or 0,
        driver=driver or _driver_link(host, at),
        irq=number_in(host, f"{at}/irq", 10) or None,
        msi_irqs=tuple(
            sorted(int(p.rsplit("/", 1)[1]) for p in host.glob(f"{literal(at)}/msi_irqs/*"))
        ),
        pcie=bool(host.glob(literal(f"{at}/current_link_speed"))),
        numa_node=_node(host, f"{at}/numa_node"),
        local_cpus=parse_cpulist(text_in(host, f"{at}/local_cpulist") or ""),
        msi_allowed=_flag(host, f"{at}/msi_bus"),
        link=_pcie_link(host, at, "current"),
        link_max=_pcie_link(host, at, "max"),
        nets=below.get((address, "net"), ()),
        virtio=below.get((address, "virtio"), ()),
        blocks=tuple(_block(host, name) for name in below.get((address, "block"), ())),
        usb=tuple(name for name in usb if _USB_DEVICE.fullmatch(name)),
        usb_buses=tuple(name for name in usb if name.startswith("usb")),
        inputs=below.get((address, "input"), ()),
        bridges=below.get((address, "bridges"), ()),
    )


def _below(host: Host) -> _Below:
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for kind, pattern in _LINKS.items():
        for path in host.glob(pattern):
            *bridges, owner = addresses_in(link_of(host, path)) or ("",)
            found[owner, kind] = (*found.get((owner, kind), ()), path.rsplit("/", 1)[1])
            found[owner, "bridges"] = tuple(bridges)
    return found


def _block(host: Host, name: str) -> Block:
    at = f"/sys/class/block/{name}"
    holders = tuple(path.rsplit("/", 1)[1] for path in host.glob(f"{literal(at)}/holders/*"))
    try:
        return Block(name, host.read(f"{at}/dev").strip(), holders)
    except (SourceMissing, SourceRefused):
        return Block(name, None, holders)


def _drivers(host: Host) -> Iterator[tuple[str, str]]:
    for path in host.glob(f"/sys/bus/pci/drivers/*/{_FUNCTION}"):
        *_, driver, address = path.split("/")
        yield address, driver


def _driver_link(host: Host, at: str) -> str | None:
    return link_of(host, f"{at}/driver").rpartition("/")[2] or None


def _node(host: Host, path: str) -> int | None:
    node = number_in(host, path, 10)
    return None if node is None or node < 0 else node


def _flag(host: Host, path: str) -> bool | None:
    value = number_in(host, path, 10)
    return None if value is None else bool(value)


def _pcie_link(host: Host, at: str, end: str) -> Link | None:
    speed, width = (text_in(host, f"{at}/{end}_link_{what}") or "" for what in _WHAT)
    found = _SPEED.match(speed)  # "8.0 GT/s PCIe"; "Unknown" on virtual functions
    lanes = whole_numbers(width)
    return Link(float(found[1]), lanes[0]) if found and len(lanes) == 1 else None
