"""Identify the devices on an interrupt line, and decide which devices are NICs.

/proc/interrupts shows only the name that each driver gave its handler, here called action. A NIC
can be recognised by the name of its interface or driver, but not by a name such as `virtio1`. If
the PCI functions and interfaces from sysfs are known, they are used instead.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from dirtune.analyse.nic_drivers import NIC_DRIVERS
from dirtune.collect.identity import Same
from dirtune.collect.interrupts import Interrupts, Line
from dirtune.collect.mounts import Mount
from dirtune.collect.net import Interface
from dirtune.collect.pci import PciDevice, addresses_in

PCIE_SERVICES = frozenset({"PCIe PME", "PCIe bwctrl", "aerdrv", "pcie-dpc", "pciehp"})
"""Services of a PCI Express port, which share the port's interrupt vector by design."""

_INTERFACE = (
    r"p?eth\d+|(?:wlan|fddi|ib|em|wwan|hsn|ra|ath|lan|wan|tr|rename)\d+|net\d{1,2}"
    r"|p\d+p\d+(?:_\d+)?|vif\d+\.\d+"
    r"|(?:en|wl|ww|ib)(?:o\d+|P?\d*p\d+s\d+|s\d+|x[0-9a-f]{12}|d\d+)\w*"
)
# i40e, ice and iavf put the driver's name before the interface's name.
_NAMED = re.compile(rf"(?:[a-z][a-z0-9]*-)?(?P<interface>{_INTERFACE})(?![A-Za-z0-9])")
# Only NICs number a vector for both directions. DMA engines and serial ports number one direction
# as well, but they do not look like an interface, or their names say what they are.
_QUEUES = re.compile(r"[-_:](?:txrx|tx-rx|rxtx|fp)[-_]?\d+\b", re.IGNORECASE)
_ONE_WAY = re.compile(r"(?P<of>[a-z][\w-]*)[-_:](?:rx|tx)[-_]?\d+\b.*", re.IGNORECASE)
_NO_CARD = re.compile(
    r"(?<![a-z])(?:[a-z]*dma|q?spi|us?art|serial|tty\w*|i2[cs]|sai|snd|audio|mmc|mbox|ipc|uio)"
    r"(?![a-z])"
)
_OF_NODE = re.compile(r"[0-9a-f]+\.(?:eth|ethernet)\b.*")
_WORDS = re.compile(
    r"ethernet|happy meal|pcnet/|\b(?:b?mac|mal|emac)[ -](?:[rt]x|serr|misc)", re.IGNORECASE
)
_VIRTIO = re.compile(r"(?P<device>virtio\d+)(?:-(?P<queue>.+))?")
_CONTROL = re.compile(r"mgmn?t|misc|mbx|mailbox|async|ctrl|event|config|-aux|link", re.IGNORECASE)
_USB = re.compile(r"(?:[euox]hci[-_]hcd|usb-[eou]hci)(?::(?P<bus>usb\d+))?")

_KINDS = (  # by the leading bytes of the PCI class, the longer first
    (0x0C03, 16, "USB"),
    (0x0C05, 16, "SMBus"),
    (0x0604, 16, "PCIe port"),
    (0x01, 8, "storage"),
    (0x02, 8, "NIC"),
    (0x03, 8, "GPU"),
)
_CONSOLES = (0x03, 0x07)
"""PCI classes of display and of communication (serial) controllers."""


@dataclass(frozen=True, slots=True)
class Sharer:
    """One device that uses an interrupt line, known by the name of its handler (the action)."""

    action: str
    nic: bool | None
    """Whether the action belongs to a NIC; None if unknown."""
    kind: str
    """The kind of device: NIC, storage, GPU, USB, SMBus, PCIe port, ACPI or other."""
    device: PciDevice | None
    """The PCI function whose driver registered the handler; None if it cannot be identified."""


class Names:
    """A set of interface names, of any form, that finds those with which an action begins."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset(names)
        self._lengths = tuple(sorted({len(name) for name in self._names}))

    def beginning(self, action: str) -> Iterator[str]:
        """Yield the names that *action* begins with, if no letter or digit follows."""
        # A host may have very many names, but they have few lengths.
        for length in self._lengths:
            if length > len(action):
                return
            after = action[length : length + 1]
            if not (after.isascii() and after.isalnum()) and action[:length] in self._names:
                yield action[:length]


_NO_NAMES = Names()


def nic_action(action: str, interfaces: Names = _NO_NAMES) -> bool | None:
    """Return whether an interrupt handler belongs to a NIC, by its name alone; None if unknown.

    *action* is the name of the handler in /proc/interrupts. *interfaces* are the names of the
    machine's network interfaces.
    """
    virtio = _VIRTIO.fullmatch(action)
    if virtio:
        return _virtio_nic(virtio["queue"])
    if any(interfaces.beginning(action)):
        return True
    if _NAMED.match(action) or _QUEUES.search(action) or _drivers(action) & NIC_DRIVERS:
        return True
    if _OF_NODE.fullmatch(action) or _WORDS.search(action):
        return True
    queue = _ONE_WAY.fullmatch(action)
    return None if queue and not _NO_CARD.search(queue["of"].lower()) else False


def _drivers(action: str) -> set[str]:
    """Return the possible driver names in *action*: `mana_q0@pci:...` may contain mana."""
    name = re.split(r"[@:\[( ]", action, maxsplit=1)[0].lower()
    names = {name, name.rstrip("0123456789"), name.split("-")[0]}
    return names | {re.split(r"[-_]", name)[0]} if "@" in action else names


def nic_line(line: Line, sharing: Iterable[Sharer] | None = None) -> bool | None:
    """Return whether a NIC uses the interrupt line *line*; None if unknown."""
    if sharing is None:
        answers = {nic_action(action) for action in line.actions}
    else:
        answers = {sharer.nic for sharer in sharing}
    if True in answers:
        return True
    return None if None in answers or line.cut else False


def sharers(
    line: Line,
    pci: tuple[PciDevice, ...] | None = None,
    interfaces: tuple[Interface, ...] | None = None,
) -> tuple[Sharer, ...]:
    """Return the devices that use the interrupt line *line*, in the order of /proc/interrupts."""
    known = _known(Same(pci or ()), Same(interfaces or ()))
    taken = _Taken()
    return tuple(
        _sharer(action, _device(action, line, known, taken), known.names)
        for action in line.actions
    )


def nic_actions(
    table: Interrupts,
    pci: tuple[PciDevice, ...] | None = None,
    interfaces: tuple[Interface, ...] | None = None,
) -> frozenset[str]:
    """Return the names of all interrupt handlers in *table* that belong to a NIC."""
    everyone = (s for line in table.numbered for s in sharers(line, pci, interfaces))
    return frozenset(sharer.action for sharer in everyone if sharer.nic)


def data_vector(action: str, table: Interrupts) -> bool:
    """Whether the NIC interrupt *action* signals packets, rather than link changes or a mailbox.

    If a NIC has queues on other lines, the line with the NIC's plain name signals link changes.
    """
    return not _CONTROL.search(action) and action not in table.with_queues


def on_msi(line: Line) -> bool:
    """Whether *line* is an MSI or MSI-X vector of one device, not a wire that devices share."""
    # Under Xen, the flow column shows MSI: `xen-pirq    -msi-x`.
    return "MSI" in f"{line.chip} {line.flow}".upper()


def pic(line: Line) -> bool:
    """Whether the interrupt line *line* goes through the 8259 PIC of an x86 machine.

    MIPS boards print XT-PIC as well, but with a hardware interrupt number. On those boards the PIC
    is the normal controller, not a fallback.
    """
    return (line.chip or "").startswith("XT-PIC") and line.hwirq is None


def why_not_unbind(
    sharer: Sharer,
    line: Line,
    pci: tuple[PciDevice, ...],
    mounts: tuple[Mount, ...] | None,
    swaps: tuple[str, ...] | None,
) -> str | None:
    """Return why the driver of *sharer* must not be unbound; None if it may be unbound.

    The reason is a phrase that follows the name of the device. The audit and the fix both call
    this function, so that the audit never suggests an unbinding that the fix refuses.
    """
    device = sharer.device
    if device is None or device.driver is None:
        return f"matches no PCI function on irq {line.irq} that has a driver"
    return (
        in_use(device, mounts, swaps)
        or ("is a NIC itself" if sharer.nic else None)
        or _ambiguous(sharer, device, line, pci)
    )


def in_use(
    device: PciDevice, mounts: tuple[Mount, ...] | None, swaps: tuple[str, ...] | None
) -> str | None:
    """Return how the PCI function *device* is used, or may be used; None if it is not in use.

    The result is a phrase that follows the name of the device. Two uses cannot be detected: a disk
    that a program opened without mounting it, and a mount in another mount namespace.
    """
    if device.nets:
        return f"carries the interface {', '.join(device.nets)}"
    if device.class_code >> 8 == 0x0604:
        return "is a bridge with other devices behind it"
    if device.inputs:
        return f"carries {', '.join(device.inputs)} (keyboard or mouse)"
    if device.usb:
        return f"has USB devices plugged in: {', '.join(device.usb)}"
    if device.blocks and mounts is None:
        return f"carries {device.blocks[0].name}, and the mounts are unknown"
    return _block_in_use(device, mounts or (), swaps or ()) or _unseen_use(device)


def _unseen_use(device: PciDevice) -> str | None:
    if device.virtio:
        return f"carries {', '.join(device.virtio)}, whose use dirtune cannot detect"
    if device.class_code >> 16 in _CONSOLES:
        return "is a display or serial controller, which may be the console"
    return None


def _ambiguous(
    sharer: Sharer, device: PciDevice, line: Line, pci: tuple[PciDevice, ...]
) -> str | None:
    alike = [d for d in pci if d.driver == device.driver and d.intx == device.intx]
    handlers = line.actions.count(sharer.action)
    if device.driver != sharer.action or len(alike) <= handlers:
        return None
    return (
        f"cannot be identified: {len(alike)} PCI functions have this driver and interrupt line, "
        f"but only {handlers} of them registered a handler"
    )


def _block_in_use(
    device: PciDevice, mounts: tuple[Mount, ...], swaps: tuple[str, ...]
) -> str | None:
    for block in device.blocks:
        path = f"/dev/{block.name}"
        for mount in mounts:
            if mount.dev == block.dev or mount.source == path:
                return f"carries the mounted file system {mount.target}"
        if path in swaps:
            return f"carries swap on {path}"
        if block.holders:
            return f"carries {path}, which {', '.join(block.holders)} uses"
    return None


def _virtio_nic(queue: str | None) -> bool | None:
    if queue is None or queue == "config":
        return None
    return bool(re.match(r"(?:in|out)put\b", queue))


def _sharer(action: str, device: PciDevice | None, interfaces: Names) -> Sharer:
    if device is not None:
        kind = _kind(device.class_code)
        return Sharer(action, kind == "NIC", kind, device)
    nic = nic_action(action, interfaces)
    return Sharer(action, nic, "NIC" if nic else _kind_by_name(action), None)


def _kind(class_code: int) -> str:
    for code, bits, kind in _KINDS:
        if class_code >> (24 - bits) == code:
            return kind
    return "other"


def _kind_by_name(action: str) -> str:
    if _USB.match(action):
        return "USB"
    if "smbus" in action:
        return "SMBus"
    if action == "acpi":
        return "ACPI"
    return "PCIe port" if action in PCIE_SERVICES else "other"


class _Known:
    """The PCI functions and interfaces of a host, with an index to find them by.

    The index saves time: a hostile host can list very many functions, and dirtune looks up every
    action of every interrupt line.
    """

    def __init__(self, pci: tuple[PciDevice, ...], interfaces: tuple[Interface, ...]) -> None:
        self.pci = pci
        self.names = Names(i.name for i in interfaces if i.physical)
        self._by: dict[tuple[str, object], list[int]] = {}
        nets: dict[int, list[str]] = {}
        for place, device in enumerate(pci):
            for key in _keys(device):
                self._by.setdefault(key, []).append(place)
            if device.intx is not None:
                nets.setdefault(device.intx, []).extend(device.nets)
        self._nets = {intx: Names(names) for intx, names in nets.items()}

    def fits(self, action: str, line: Line) -> Sequence[int]:
        """Return the places in `pci` of the functions that may have registered *action*."""
        return self._by.get(self._key(action, line), ())

    def _key(self, action: str, line: Line) -> tuple[str, object]:
        irq = int(line.irq)
        virtio, usb = _VIRTIO.fullmatch(action), _USB.match(action)
        if address := addresses_in(action):
            return "address", address[-1]
        if on_msi(line):
            return "msi", irq
        if virtio:
            return "virtio", virtio["device"]
        if usb and usb["bus"]:
            return "usb", usb["bus"]
        key = ("action", (irq, action))
        if key not in self._by:
            names = self._nets[irq].beginning(action) if irq in self._nets else ()
            nets = (place for name in names for place in self._by["net", (irq, name)])
            both = {*self._by.get(("driver", (irq, action)), ()), *nets}
            self._by[key] = sorted(both)
        return key


def _keys(device: PciDevice) -> Iterator[tuple[str, object]]:
    """Yield the keys of *device* in the index, such as its PCI address."""
    yield "address", device.address
    yield from (("msi", irq) for irq in dict.fromkeys(device.msi_irqs))
    yield from (("virtio", name) for name in dict.fromkeys(device.virtio))
    yield from (("usb", bus) for bus in dict.fromkeys(device.usb_buses))
    if device.intx is not None:
        yield "driver", (device.intx, device.driver)
        yield from (("net", (device.intx, name)) for name in dict.fromkeys(device.nets))


@lru_cache(maxsize=1)
def _known(pci: Same[tuple[PciDevice, ...]], interfaces: Same[tuple[Interface, ...]]) -> _Known:
    """Return the devices of one host with their index, which is kept until the next host."""
    return _Known(pci.value, interfaces.value)


class _Taken:
    """The PCI functions that were assigned to earlier actions of an interrupt line."""

    def __init__(self) -> None:
        self._places: set[int] = set()
        self._next: dict[int, int] = {}
        """By the identity of a list, the number of its first places that are taken."""

    def take(self, fits: Sequence[int]) -> int | None:
        """Take and return the first free place in *fits*; the first place if none is free.

        *fits* holds places of PCI functions; if it is empty, the result is None. Places stay
        taken, so no list is searched twice from its beginning.
        """
        at = self._next.get(id(fits), 0)
        while at < len(fits) and fits[at] in self._places:
            at += 1
        self._next[id(fits)] = at
        if not fits:
            return None
        place = fits[at] if at < len(fits) else fits[0]
        self._places.add(place)
        return place


def _device(action: str, line: Line, known: _Known, taken: _Taken) -> PciDevice | None:
    """Return the PCI function whose driver registered the handler *action*; None if none fits.

    If several functions fit, the result is the first function that is not in *taken*.
    """
    place = taken.take(known.fits(action, line))
    return None if place is None else known.pci[place]
