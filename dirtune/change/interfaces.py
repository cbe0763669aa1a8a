"""An interface whatever it is called: udev and people rename them while they are up."""

from collections.abc import Iterable, Mapping

import msgspec

from dirtune.errors import SourceMissing, SourceRefused
from dirtune.host import Host, literal

_NET = "/sys/class/net"
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


class Interface(msgspec.Struct, frozen=True):
    """An interface, however it is renamed, until the next boot."""

    index: int
    """The kernel's ifindex."""
    boot: str
    """The boot_id; the next boot gives indices anew."""


def known(host: Host, names: Iterable[str]) -> dict[str, Interface] | None:
    """Return the interfaces with *names*, without those that are not there; None for none."""
    return {name: there for name in names if (there := _known(host, name))} or None


def _known(host: Host, name: str) -> Interface | None:
    try:
        index = int(host.read(f"{_NET}/{name}/ifindex"))
        return Interface(index, host.read(_BOOT_ID).strip())
    except (SourceMissing, SourceRefused, ValueError):
        return None


def name_now(host: Host, name: str, then: Mapping[str, Interface] | None) -> str | None:
    """Return what the interface that was called *name* *then* is called now; None if it is gone.

    One that came back, as with its module, has another index and its name.
    """
    interface = (then or {}).get(name)
    if interface is not None and _known(host, name) != interface:
        for path in host.glob(f"{_NET}/*/ifindex"):
            new = path.split("/")[-2]
            if _known(host, new) == interface:
                return new
    return name if host.glob(literal(f"{_NET}/{name}")) else None
