"""A PCI function and its driver: read, bound and unbound."""

from dirtune.change.boot_files import UDEV, Row, Unwritable, udev_row
from dirtune.change.expected import require, text
from dirtune.errors import ApplyError, SourceMissing
from dirtune.host import Host, WritableHost, literal
from dirtune.settings import plain
from dirtune.snapshot import Snapshot

DEVICES = "/sys/bus/pci/devices"
DRIVERS = "/sys/bus/pci/drivers"
NONE = "none"
"""What `driver_override` holds to keep every driver from a device: no driver is called so."""
_UNSET = frozenset({"", "(null)"})


def there(host: Host, device: str) -> bool:
    """Whether *device* is there: one that was pulled out has no driver to get back."""
    return bool(host.glob(literal(f"{DEVICES}/{device}")))


def require_driver(host: Host, device: str, driver: str | None) -> None:
    """Raise `ApplyError` unless *driver* has *device*; None is no driver."""
    if not there(host, device):
        raise ApplyError(f"{device}: this PCI device is gone")
    require(f"driver of {device}", _driver(host, device), driver)


def bind(host: WritableHost, device: str, driver: str) -> None:
    """Give *device* to *driver*."""
    folder = f"{DRIVERS}/{driver}"
    if not host.glob(literal(folder)):
        raise ApplyError(
            f"{device}: the driver {driver} is not loaded. Load it with modprobe, then try again"
        )
    host.write(f"{folder}/bind", device)


def unbind(host: WritableHost, device: str, driver: str) -> None:
    """Take *device* from *driver*."""
    host.write(f"{DRIVERS}/{driver}/unbind", device)


def has(host: Host, device: str, driver: str) -> bool:
    """Whether *driver* has *device*."""
    return _driver(host, device) == driver


def override(device: str, driver: str) -> tuple[Row, ...] | Unwritable:
    """Return the row that has *driver*, or none, take *device* when it is found."""
    for name in (device, driver):
        if not plain(name):
            return Unwritable(name, UDEV)
    return (udev_row("pci", device, 'ATTR{driver_override}="', driver),)


def shown_override(host: Host, device: str) -> str | None:
    """Return the text of what driver alone *device* may have; None on a kernel without that."""
    return text(host, f"{DEVICES}/{device}/driver_override")


def undo_override(host: WritableHost, device: str, ours: str, before: str | None) -> None:
    """Give *device* the override of *before*, where a boot has set *ours*, the row of `override`.

    It would keep the driver of before from the device.
    """
    old = (before or "").strip()
    if (shown_override(host, device) or "").strip() == ours != old:
        host.write(f"{DEVICES}/{device}/driver_override", "\n" if old in _UNSET else f"{old}\n")


def interfaces(device: str, snapshot: Snapshot) -> tuple[str, ...]:
    """Return the interfaces of *device*."""
    return next((d.nets for d in snapshot.pci or () if d.address == device), ())


def _driver(host: Host, device: str) -> str | None:
    try:
        return host.link(f"{DEVICES}/{device}/driver").rpartition("/")[2]
    except SourceMissing:
        return None
