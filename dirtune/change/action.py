"""The base class of all kinds of action: their decisions on data, and their effects on a host.

`dirtune/change/actions` has a module for each kind. A method with a host as its argument acts on
that host; every other method is pure. Actions reach a machine in no other way, so code that only
plans changes, and has no host, cannot change a machine.
"""

from abc import abstractmethod
from typing import Self

import msgspec

from dirtune.change.boot_files import Row, Unwritable
from dirtune.change.interfaces import Interface
from dirtune.errors import ApplyError, SourceMissing, SourceRefused
from dirtune.host import FileContents, Host, WritableHost
from dirtune.snapshot import Snapshot


class Saved(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state before a change. The kind of action decides which fields hold it."""

    text: str | None = None
    """The text of a kernel file."""
    file: FileContents | None = None
    """The contents of a file; None also if the file did not exist."""
    folder: str | None = None
    """The folder that had to be made for the file; None if it existed."""
    values: dict[str, int] | None = None
    """Settings by name, such as a NIC's."""
    handlers: int | None = None
    """The number of handlers with the action's handler name on the interrupt line."""
    interfaces: dict[str, Interface] | None = None
    """The interfaces that were set, by their names then; they may have been renamed since."""


class Action(msgspec.Struct, frozen=True):
    """One step that changes a host; a journal holds it as JSON, tagged with its kind."""

    # --- on data ---

    @property
    @abstractmethod
    def commands(self) -> tuple[str, ...]:
        """The equivalent shell commands."""

    @property
    @abstractmethod
    def kept(self) -> tuple[Row, ...] | Unwritable:
        """The rows of boot files that repeat the action after a boot; empty if it needs none."""

    @property
    @abstractmethod
    def targets(self) -> frozenset[str]:
        """The names of the things that it sets, to find another action that sets them too.

        Empty for a command, because its effects are unknown.
        """

    @abstractmethod
    def touched(self, snapshot: Snapshot) -> tuple[str, ...]:
        """Return the interfaces that it takes down for a moment or longer."""

    @abstractmethod
    def suspects(self, snapshot: Snapshot) -> tuple[str, ...]:
        """Return the running programs and the files that may have changed the setting since."""

    @property
    def subject(self) -> str | None:
        """The device that a refusal names; None if the refusal names the change's title."""
        return None

    @property
    def needless(self) -> bool:
        """Whether the plan saw that the wanted value is set already."""
        return False

    @property
    def silent(self) -> bool:
        """Whether applying it does nothing, because the plan contains it only for the undo."""
        return False

    @property
    def follows(self) -> bool:
        """Whether it only processes files that other changes write."""
        return False

    @property
    def adds(self) -> bool:
        """Whether it adds something, instead of changing the value of something."""
        return False

    # --- on a host ---

    @abstractmethod
    def save(self, host: WritableHost) -> Saved:
        """Return the state that it will replace; raises `ApplyError` if the plan saw another."""

    @abstractmethod
    def make(self, host: WritableHost) -> None:
        """Carry out the action."""

    @abstractmethod
    def require_made(self, saved: Saved, host: Host) -> None:
        """Raise `ApplyError` unless its effect can be read back."""

    @abstractmethod
    def undo(self, saved: Saved, host: WritableHost) -> None:
        """Restore the state from before the change; raises `ApplyError` if that fails.

        An undo may be repeated. It also works if the change was never made, because a crash leaves
        that unknown. It restores the previous value, not a default.
        """

    def as_now(self, saved: Saved, host: Host) -> Self:  # noqa: ARG002  (most name no interface)
        """Return the action with the present names of what it set, such as a renamed interface."""
        return self

    def holds(self, host: Host) -> bool | None:
        """Return whether the action is in effect now; None if that cannot be checked."""
        try:
            self.require_made(Saved(), host)
        except (ApplyError, SourceMissing, SourceRefused):
            return False
        return True
