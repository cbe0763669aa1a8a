"""Set a NIC's rings, channels, coalescing or features."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

import msgspec

from dirtune.change import interfaces, nic, queues
from dirtune.change.action import Action, Saved
from dirtune.change.boot_files import UDEV, Row, Unwritable, udev_row
from dirtune.change.expected import require
from dirtune.change.queues import Queues
from dirtune.competitors import competitors
from dirtune.host import Host, WritableHost
from dirtune.settings import COALESCE, ethtool_command, plain

if TYPE_CHECKING:
    from dirtune.snapshot import Snapshot

# udev has no PATH: it looks for a program without a folder among its own programs.
_SBIN = "/sbin/"


class SetNic(Action, frozen=True, tag="card"):
    """Change settings of a NIC, under the names that `collect.ethtool.Card` has."""

    interface: str
    group: str
    """One of rings, channels, coalesce and features."""
    before: dict[str, int]
    """The values when the plan was made."""
    after: dict[str, int]

    @property
    def commands(self) -> tuple[str, ...]:
        return (ethtool_command(self.interface, self.group, self.after),)

    @property
    def kept(self) -> tuple[Row, ...] | Unwritable:
        for name in (self.interface, *self.after):
            if not plain(name):
                return Unwritable(name, UDEV)
        return tuple(self._row(name, value) for name, value in self.after.items())

    @property
    def targets(self) -> frozenset[str]:
        return frozenset(f"{self.interface} {self.group} {name}" for name in self.after)

    def touched(self, snapshot: "Snapshot") -> tuple[str, ...]:
        return (self.interface,)

    def suspects(self, snapshot: "Snapshot") -> tuple[str, ...]:
        return competitors(snapshot, "nic")

    @property
    def subject(self) -> str:
        return self.interface

    @property
    def needless(self) -> bool:
        return self.before == self.after

    @property
    def late_imports(self) -> tuple[str, ...]:
        return (nic.LATE_IMPORT,)

    @property
    def in_network(self) -> bool:
        return True

    def save(self, host: WritableHost) -> Saved:
        self._require(self.before, host, self.interface)
        return Saved(
            values=self.before,
            interfaces=interfaces.known(host, (self.interface,)),
            queues=None if self.group == COALESCE else queues.read(host, self.interface),
        )

    def make(self, host: WritableHost) -> None:
        nic.write(host, self.interface, self.group, self.after)

    def require_made(self, saved: Saved, host: Host) -> None:
        self._require(self.after, host, self.interface)

    def undo(self, saved: Saved, host: WritableHost) -> None:
        values = saved.values or {}
        name = interfaces.name_now(host, self.interface, saved.interfaces)
        if name is None:  # it was removed with its module
            return
        then = self._queues(saved, host, name)
        if self._now(host, name, values) != values:
            if then is not None:
                queues.release(host, name, then)
            nic.write(host, name, self.group, values)
            self._require(values, host, name)
        if then is not None:
            queues.restore(host, name, then, self.interface)

    def as_now(self, saved: Saved, host: Host) -> Self:
        name = interfaces.name_now(host, self.interface, saved.interfaces)
        return msgspec.structs.replace(self, interface=name or self.interface)

    def restored(self, saved: Saved, host: Host) -> frozenset[str]:
        name = self.as_now(saved, host).interface
        then = self._queues(saved, host, name)
        return frozenset() if then is None else queues.names(host, name, then, self.interface)

    def _queues(self, saved: Saved, host: Host, name: str) -> Queues | None:
        """Return the saved settings of the queues, which the change may have reset.

        *name* is the present name of the interface. The result is None if the interface was made
        again by a boot or by loading its module, because its queues are then new too.
        """
        then = (saved.interfaces or {}).get(self.interface)
        return saved.queues if interfaces.is_still(host, name, then) else None

    def _row(self, name: str, value: int) -> Row:
        command = ethtool_command(self.interface, self.group, {name: value})
        words, _, last = command.rpartition(" ")
        return udev_row("net", self.interface, f'RUN+="{_SBIN}{words} ', last)

    def _now(self, host: Host, interface: str, names: Iterable[str]) -> dict[str, int]:
        values = nic.read(host, interface, self.group)
        return {name: values[name] for name in names if name in values}

    def _require(self, values: dict[str, int], host: Host, interface: str) -> None:
        now = self._now(host, interface, values)
        for name, value in values.items():
            require(f"{interface} {name}", str(now.get(name)), str(value))
