"""Read, bind and unbind the driver of a PCI function."""

from typing import TYPE_CHECKING

from dirtune.change.action import Action
from dirtune.change.boot_files import UDEV, Row, Unwritable, udev_row
from dirtune.change.expected import require, text
from dirtune.errors import ApplyError, SourceMissing
from dirtune.host import Host, WritableHost, literal
from dirtune.settings import plain

if TYPE_CHECKING:
    from dirtune.snapshot import Snapshot

DEVICES = "/sys/bus/pci/devices"
DRIVERS = "/sys/bus/pci/drivers"
NONE = "none"
"""The `driver_override` with which no driver binds to a device: no driver has this name."""
_UNSET = frozenset({"", "(null)"})


class DriverAction(Action, frozen=True):
    """The base class of the actions that bind or unbind the driver of a PCI function."""

    device: str
    """The PCI address, such as `0000:00:14.0`."""
    driver: str

    @property
    def targets(self) -> frozenset[str]:
        return frozenset({self.device})

    def touched(self, snapshot: "Snapshot") -> tuple[str, ...]:
        return interfaces(self.device, snapshot)

    def suspects(self, snapshot: "Snapshot") -> tuple[str, ...]:
        return ()

    @property
    def subject(self) -> str:
        return self.device


def there(host: Host, device: str) -> bool:
    """Whether the PCI function *device* is present."""
    return bool(host.glob(literal(f"{DEVICES}/{device}")))


def require_driver(host: Host, device: str, driver: str | None) -> None:
    """Raise `ApplyError` unless *driver* is bound to *device*; None means no driver."""
    if not there(host, device):
        raise ApplyError(f"The PCI device {device} is gone")
    require(f"driver of {device}", _driver(host, device), driver)


def bind(host: WritableHost, device: str, driver: str) -> None:
    """Bind the PCI *device* to *driver*; raises `ApplyError` if the driver is not loaded."""
    folder = f"{DRIVERS}/{driver}"
    if not host.glob(literal(folder)):
        raise ApplyError(
            f"{device} needs the driver {driver}, which is not loaded. Load it with modprobe."
        )
    host.write(f"{folder}/bind", device)


def unbind(host: WritableHost, device: str, driver: str) -> None:
    """Unbind *device* from *driver*."""
    host.write(f"{DRIVERS}/{driver}/unbind", device)


def has(host: Host, device: str, driver: str) -> bool:
    """Whether *driver* is bound to *device*."""
    return _driver(host, device) == driver


def override(device: str, driver: str) -> tuple[Row, ...] | Unwritable:
    """Return the udev rule that lets only *driver* bind to *device*, or no driver for `NONE`."""
    for name in (device, driver):
        if not plain(name):
            return Unwritable(name, UDEV)
    return (udev_row("pci", device, 'ATTR{driver_override}="', driver),)


def shown_override(host: Host, device: str) -> str | None:
    """Return the text of *device*'s `driver_override`; None if the kernel lacks that file."""
    return text(host, f"{DEVICES}/{device}/driver_override")


def undo_override(host: WritableHost, device: str, ours: str, before: str | None) -> None:
    """Set *device*'s `driver_override` back to *before* if it is *ours*, set by udev at a boot.

    Otherwise *ours* would keep the previous driver from binding to the device.
    """
    old = (before or "").strip()
    if (shown_override(host, device) or "").strip() == ours != old:
        host.write(f"{DEVICES}/{device}/driver_override", "\n" if old in _UNSET else f"{old}\n")


def interfaces(device: str, snapshot: "Snapshot") -> tuple[str, ...]:
    """Return the network interfaces of *device*."""
    return next((d.nets for d in snapshot.pci or () if d.address == device), ())


def _driver(host: Host, device: str) -> str | None:
    try:
        return host.link(f"{DEVICES}/{device}/driver").rpartition("/")[2]
    except SourceMissing:
        return None
