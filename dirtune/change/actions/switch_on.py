"""Bring up an interface."""

from typing import Self

import msgspec

from dirtune.change import interfaces, ip
from dirtune.change.action import Saved
from dirtune.host import Host, WritableHost


class SwitchOn(ip.IpAction, frozen=True, tag="up"):
    """Bring up an interface that is down."""

    interface: str

    @property
    def what(self) -> str:
        """The interface, as messages name it."""
        return f"{self.interface} on"

    @property
    def words(self) -> tuple[str, ...]:
        return _words(self.interface, "up")

    def save(self, host: WritableHost) -> Saved:
        ip.require_not_yet(self.what, made=_is_on(host, self.interface))
        return Saved(interfaces=interfaces.known(host, (self.interface,)))

    def require_made(self, saved: Saved, host: Host) -> None:
        ip.require_made(self.what, made=_is_on(host, self.interface))

    def undo(self, saved: Saved, host: WritableHost) -> None:
        name = interfaces.name_now(host, self.interface, saved.interfaces)
        if name is not None and _is_on(host, name):
            ip.change(host, *_words(name, "down"))

    def as_now(self, saved: Saved, host: Host) -> Self:
        name = interfaces.name_now(host, self.interface, saved.interfaces)
        return msgspec.structs.replace(self, interface=name or self.interface)


def _words(interface: str, state: str) -> tuple[str, ...]:
    return ("link", "set", "dev", interface, state)


def _is_on(host: Host, interface: str) -> bool:
    row = ip.shown(host, "-o", "link", "show", "dev", interface)
    return "UP" in row.partition("<")[2].partition(">")[0].split(",")
