"""Spread the RSS indirection table of a NIC evenly over its queues."""

from typing import TYPE_CHECKING, Self

import msgspec

from dirtune.change import interfaces, nic, queues
from dirtune.change.action import Action, Saved
from dirtune.change.boot_files import UDEV, Row, Unwritable, udev_row
from dirtune.change.expected import require
from dirtune.change.queues import Queues
from dirtune.competitors import competitors
from dirtune.host import Host, WritableHost
from dirtune.settings import even_rss_command, plain

if TYPE_CHECKING:
    from dirtune.snapshot import Snapshot

# udev has no PATH: it looks for a program without a folder among its own programs.
_SBIN = "/sbin/"


class SpreadRss(Action, frozen=True, tag="rss"):
    """Let the hash values of a NIC's RSS table go to its first queues in turn."""

    interface: str
    before: tuple[int, ...]
    """The table when the plan was made: the queue of each hash value."""
    count: int
    """Number of queues that the new table uses."""

    @property
    def after(self) -> tuple[int, ...]:
        """The table that `ethtool -X INTERFACE equal COUNT` sets."""
        return tuple(number % self.count for number in range(len(self.before)))

    @property
    def commands(self) -> tuple[str, ...]:
        return (even_rss_command(self.interface, self.count),)

    @property
    def kept(self) -> tuple[Row, ...] | Unwritable:
        if not plain(self.interface):
            return Unwritable(self.interface, UDEV)
        words, _, last = self.commands[0].rpartition(" ")
        return (udev_row("net", self.interface, f'RUN+="{_SBIN}{words} ', last),)

    @property
    def targets(self) -> frozenset[str]:
        return frozenset({f"{self.interface} RSS table"})

    def touched(self, snapshot: "Snapshot") -> tuple[str, ...]:
        return ()

    def suspects(self, snapshot: "Snapshot") -> tuple[str, ...]:
        return competitors(snapshot, "nic")

    @property
    def subject(self) -> str:
        return self.interface

    @property
    def needless(self) -> bool:
        return self.before == self.after

    @property
    def in_network(self) -> bool:
        return True

    def save(self, host: WritableHost) -> Saved:
        self._require(self.before, host)
        return Saved(
            interfaces=interfaces.known(host, (self.interface,)), queues=Queues(rss=self.before)
        )

    def make(self, host: WritableHost) -> None:
        nic.write_rss_table(host, self.interface, self.after)

    def require_made(self, saved: Saved, host: Host) -> None:
        self._require(self.after, host)

    def undo(self, saved: Saved, host: WritableHost) -> None:
        name = interfaces.name_now(host, self.interface, saved.interfaces)
        then = (saved.interfaces or {}).get(self.interface)
        # A NIC that a boot or its module made again has a new table.
        if name is not None and saved.queues and interfaces.is_still(host, name, then):
            queues.restore(host, name, saved.queues, self.interface)

    def as_now(self, saved: Saved, host: Host) -> Self:
        name = interfaces.name_now(host, self.interface, saved.interfaces)
        return msgspec.structs.replace(self, interface=name or self.interface)

    def _require(self, table: tuple[int, ...], host: Host) -> None:
        now = nic.rss_table(host, self.interface)
        require(f"{self.interface} RSS table", str(now), str(table))
