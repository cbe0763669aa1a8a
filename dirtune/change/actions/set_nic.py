"""Set a NIC's rings, channels, coalescing or features."""

from collections.abc import Iterable

from dirtune.change import nic
from dirtune.change.action import Action, Saved
from dirtune.change.boot_files import UDEV, Row, Unwritable, udev_row
from dirtune.change.expected import require
from dirtune.checks.remedies import competitors
from dirtune.host import Host, WritableHost, literal
from dirtune.settings import ethtool_command, plain
from dirtune.snapshot import Snapshot

# udev has no PATH: it takes a program without a folder for one of its own.
_SBIN = "/sbin/"


class SetNic(Action, frozen=True, tag="card"):
    """Set a NIC, by the names that `collect.ethtool.Card` has."""

    interface: str
    group: str
    """rings, channels, coalesce or features."""
    before: dict[str, int]
    """The values seen when the plan was made."""
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

    def touched(self, snapshot: Snapshot) -> tuple[str, ...]:
        return (self.interface,)

    def suspects(self, snapshot: Snapshot) -> tuple[str, ...]:
        return competitors(snapshot, "nic")

    @property
    def subject(self) -> str:
        return self.interface

    @property
    def needless(self) -> bool:
        return self.before == self.after

    def save(self, host: WritableHost) -> Saved:
        self._require(self.before, host)
        return Saved(values=self.before)

    def make(self, host: WritableHost) -> None:
        nic.write(host, self.interface, self.group, self.after)

    def require_made(self, saved: Saved, host: Host) -> None:
        self._require(self.after, host)

    def undo(self, saved: Saved, host: WritableHost) -> None:
        values = saved.values or {}
        # Nothing is left to undo where the interface went with its module.
        if not host.glob(literal(f"/sys/class/net/{self.interface}")):
            return
        if self._now(host, values) != values:
            nic.write(host, self.interface, self.group, values)
            self._require(values, host)

    def _row(self, name: str, value: int) -> Row:
        command = ethtool_command(self.interface, self.group, {name: value})
        words, _, last = command.rpartition(" ")
        return udev_row("net", self.interface, f'RUN+="{_SBIN}{words} ', last)

    def _now(self, host: Host, names: Iterable[str]) -> dict[str, int]:
        values = nic.read(host, self.interface, self.group)
        return {name: values[name] for name in names if name in values}

    def _require(self, values: dict[str, int], host: Host) -> None:
        now = self._now(host, values)
        for name, value in values.items():
            require(f"{self.interface} {name}", str(now.get(name)), str(value))
