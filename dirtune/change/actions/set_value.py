"""Write a value to a kernel file."""

import re
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

import msgspec

from dirtune.change import interfaces, kernel_text
from dirtune.change.action import Action, Saved
from dirtune.change.boot_files import MODULES, SCRIPT, SYSCTL, UDEV, Row, Unwritable, udev_row
from dirtune.change.expected import require
from dirtune.collect.sysctls import dotted
from dirtune.competitors import competitors
from dirtune.host import Host, WritableHost, literal
from dirtune.settings import plain, written

if TYPE_CHECKING:
    from dirtune.snapshot import Snapshot

_SYS = "/proc/sys/"
_NET = "/sys/class/net/"
_IPVS = "net/ipv4/vs/"
_OF_AN_INTERFACE = re.compile(
    r"(?P<begin>/sys/class/net/|/proc/sys/net/ipv[46]/(?:conf|neigh)/)(?P<name>[^/]+)(?P<end>/.*)",
    re.DOTALL,
)
"""Patterns of paths that contain an interface's name, and so change when it is renamed."""
_NEEDS = {_IPVS: "ip_vs", "net/netfilter/": "nf_conntrack"}
"""The kernel modules that provide sysctls, by the prefix of the sysctl's path."""


class SetValue(Action, frozen=True, tag="set"):
    """Write a value to a kernel file."""

    path: str
    before: str
    """The value when the plan was made, without the newline."""
    after: str

    @property
    def commands(self) -> tuple[str, ...]:
        return (written(self.path, self.after),)

    @property
    def kept(self) -> tuple[Row, ...] | Unwritable:
        path, value = self.path, self.after
        if not path.startswith((_SYS, _NET)):
            if not path.isprintable():
                return Unwritable(path, SCRIPT)
            return (Row(SCRIPT, "echo ", shlex.quote(value), f" > {shlex.quote(path)}"),)
        odd = next((name for name in path.split("/")[1:] if not plain(name)), None)
        if odd is not None:
            return Unwritable(odd, SYSCTL if path.startswith(_SYS) else UDEV)
        if path.startswith(_SYS):
            return tuple(_sysctl(path.removeprefix(_SYS), value))
        interface, _, attribute = path.removeprefix(_NET).partition("/")
        return (udev_row("net", interface, f'ATTR{{{attribute}}}="', value),)

    @property
    def targets(self) -> frozenset[str]:
        return frozenset({self.path})

    def touched(self, snapshot: "Snapshot") -> tuple[str, ...]:
        return ()

    def suspects(self, snapshot: "Snapshot") -> tuple[str, ...]:
        if not self.path.startswith(_SYS):
            return competitors(snapshot, "cpu" if "/cpu/" in self.path else "nic")
        name = self.path.removeprefix(_SYS)
        kind = "ipvs" if name.startswith(_IPVS) else "sysctl"
        writers = (*competitors(snapshot, kind), *competitors(snapshot, "sysctl"))
        return tuple(dict.fromkeys((*_sysctl_file(name, snapshot), *writers)))

    @property
    def needless(self) -> bool:
        return self.before == self.after

    @property
    def in_network(self) -> bool:
        return self.path.startswith((f"{_SYS}net/", _NET))

    def save(self, host: WritableHost) -> Saved:
        saved = kernel_text.save(self.path, self.before, host)
        parts = _OF_AN_INTERFACE.fullmatch(self.path)
        there = interfaces.known(host, (parts["name"],) if parts else ())
        return msgspec.structs.replace(saved, interfaces=there)

    def make(self, host: WritableHost) -> None:
        host.write(self.path, self.after)

    def require_made(self, saved: Saved, host: Host) -> None:
        require(self.path, host.read(self.path).strip(), self.after)

    def undo(self, saved: Saved, host: WritableHost) -> None:
        path = self.as_now(saved, host).path
        if host.glob(literal(path)):  # otherwise the file is gone, together with its module
            kernel_text.restore(path, saved, host)

    def as_now(self, saved: Saved, host: Host) -> Self:
        parts = _OF_AN_INTERFACE.fullmatch(self.path)
        if parts is None or saved.interfaces is None:
            return self
        name = interfaces.name_now(host, parts["name"], saved.interfaces)
        path = f"{parts['begin']}{name or parts['name']}{parts['end']}"
        return msgspec.structs.replace(self, path=path)


def _sysctl(name: str, value: str) -> Iterator[Row]:
    yield Row(SYSCTL, f"{dotted(name)} = ", value)
    for begin, module in _NEEDS.items():
        if name.startswith(begin):
            yield Row(MODULES, module, "")


def _sysctl_file(name: str, snapshot: "Snapshot") -> Iterator[str]:
    """Yield the file of sysctl.d(5) that sets the present value, if there is one."""
    files = snapshot.settings_files
    entry = files.sysctls.get(name) if files else None
    live = snapshot.sysctls.text(name) if snapshot.sysctls else None
    if entry and live is not None and entry[0].split() == live.split():
        yield entry[1]
