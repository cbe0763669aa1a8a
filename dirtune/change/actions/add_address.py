"""Add an address to an interface."""

import ipaddress
from typing import Self

import msgspec

from dirtune.change import interfaces, ip
from dirtune.change.action import Saved
from dirtune.collect.addresses import parse_ip_addr
from dirtune.host import Host, WritableHost


class AddAddress(ip.IpAction, frozen=True, tag="address"):
    """Add an address to an interface that does not have it."""

    interface: str
    address: str
    """Address and prefix length: `198.18.0.100/32`."""

    @property
    def what(self) -> str:
        """The address and interface, as messages name them."""
        return f"{self.address} on {self.interface}"

    @property
    def words(self) -> tuple[str, ...]:
        return ("addr", "add", self.address, "dev", self.interface)

    @property
    def adds(self) -> bool:
        return True

    def save(self, host: WritableHost) -> Saved:
        ip.require_not_yet(self.what, made=self._made(host))
        return Saved(interfaces=interfaces.known(host, (self.interface,)))

    def require_made(self, saved: Saved, host: Host) -> None:
        ip.require_made(self.what, made=self._made(host))

    def undo(self, saved: Saved, host: WritableHost) -> None:
        name = interfaces.name_now(host, self.interface, saved.interfaces)
        if name is not None and self._has(host, name):
            ip.change(host, "addr", "del", self.address, "dev", name)

    def as_now(self, saved: Saved, host: Host) -> Self:
        name = interfaces.name_now(host, self.interface, saved.interfaces)
        return msgspec.structs.replace(self, interface=name or self.interface)

    def _made(self, host: Host) -> bool:
        return self._has(host, self.interface)

    def _has(self, host: Host, interface: str) -> bool:
        rows = parse_ip_addr(ip.shown(host, "-o", "addr", "show", "dev", interface))
        addresses = {ipaddress.ip_interface(f"{row.address}/{row.prefix}") for row in rows}
        return ipaddress.ip_interface(self.address) in addresses
