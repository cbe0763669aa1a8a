"""A PCI function and its driver: read, bound and unbound."""

from dirtune.change.boot_files import UDEV, Row, Unwritable, udev_row
from dirtune.change.expected import require
from dirtune.errors import ApplyError, SourceMissing
from dirtune.host import Host, WritableHost, literal
from dirtune.settings import plain
from dirtune.snapshot import Snapshot

DRIVERS = "/sys/bus/pci/drivers"


def require_driver(host: Host, device: str, driver: str | None) -> None:
    """Raise `ApplyError` unless *driver* has *device*; None is no driver."""
    if not host.glob(literal(f"/sys/bus/pci/devices/{device}")):
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


def interfaces(device: str, snapshot: Snapshot) -> tuple[str, ...]:
    """Return the interfaces of *device*."""
    return next((d.nets for d in snapshot.pci or () if d.address == device), ())


def _driver(host: Host, device: str) -> str | None:
    try:
        return host.link(f"/sys/bus/pci/devices/{device}/driver").rpartition("/")[2]
    except SourceMissing:
        return None
