"""Find an interface again after udev or an administrator renamed it."""

from collections.abc import Iterable, Mapping

import msgspec

from dirtune.errors import SourceMissing, SourceRefused
from dirtune.host import Host, literal

_NET = "/sys/class/net"
BOOT_ID = "/proc/sys/kernel/random/boot_id"
"""The kernel file whose text changes at each boot."""


class Interface(msgspec.Struct, frozen=True):
    """The identity of an interface until the next boot; a new name does not change it."""

    index: int
    """The kernel's ifindex."""
    boot: str
    """The boot_id; a boot assigns new indices."""


def known(host: Host, names: Iterable[str]) -> dict[str, Interface] | None:
    """Return the existing interfaces among *names*, by name; None if none exists."""
    return {name: there for name in names if (there := _known(host, name))} or None


def _known(host: Host, name: str) -> Interface | None:
    try:
        index = int(host.read(f"{_NET}/{name}/ifindex"))
        return Interface(index, host.read(BOOT_ID).strip())
    except (SourceMissing, SourceRefused, ValueError):
        return None


def name_now(host: Host, name: str, then: Mapping[str, Interface] | None) -> str | None:
    """Return the present name of the interface that was called *name*; None if it is gone.

    *then* has the identities of interfaces by their earlier names. An interface that was removed
    and added again, for example because its module was reloaded, has the same name but a new
    index.
    """
    interface = (then or {}).get(name)
    if interface is not None and _known(host, name) != interface:
        for path in host.glob(f"{_NET}/*/ifindex"):
            new = path.split("/")[-2]
            if _known(host, new) == interface:
                return new
    return name if host.glob(literal(f"{_NET}/{name}")) else None


def is_still(host: Host, name: str, then: Interface | None) -> bool:
    """Whether *name* is still the name of the interface *then*; False if *then* is None."""
    return then is not None and _known(host, name) == then
