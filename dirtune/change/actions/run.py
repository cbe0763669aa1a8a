"""Run a command that generates something from files."""

import shlex
from typing import TYPE_CHECKING

import msgspec

from dirtune.change.action import Action, Saved
from dirtune.change.boot_files import Row, Unwritable
from dirtune.host import Host, WritableHost

if TYPE_CHECKING:
    from dirtune.snapshot import Snapshot


class Run(Action, frozen=True, tag="run"):
    """Run a command that generates something from files, such as update-grub.

    Such a command must run after dirtune wrote the files, and again after an undo restored them.
    Changes are undone in reverse order, so the plan holds the command twice: before the changes of
    the files with only a command for the undo, and after them with only a command for the apply.
    """

    argv: tuple[str, ...] = msgspec.field(default=(), name="make")
    """The command; if empty, nothing runs when the plan is applied."""
    undo_argv: tuple[str, ...] = msgspec.field(default=(), name="undo")
    """The command of the undo; if empty, nothing runs then."""

    @property
    def commands(self) -> tuple[str, ...]:
        return (shlex.join(self.argv),) if self.argv else ()

    @property
    def kept(self) -> tuple[Row, ...] | Unwritable:
        return ()  # the files that the command processes last over a boot

    @property
    def targets(self) -> frozenset[str]:
        return frozenset()

    def touched(self, snapshot: "Snapshot") -> tuple[str, ...]:
        return ()

    def suspects(self, snapshot: "Snapshot") -> tuple[str, ...]:
        return ()

    @property
    def silent(self) -> bool:
        return not self.argv

    @property
    def follows(self) -> bool:
        return True

    @property
    def adds(self) -> bool:
        return True

    def save(self, host: WritableHost) -> Saved:
        return Saved()

    def make(self, host: WritableHost) -> None:
        if self.argv:
            host.run(self.argv)

    def require_made(self, saved: Saved, host: Host) -> None:
        pass  # the command's effect is unknown; a command that fails reports it

    def undo(self, saved: Saved, host: WritableHost) -> None:
        if self.undo_argv:
            host.run(self.undo_argv)

    def holds(self, host: Host) -> None:
        return None
