"""The base class of all kinds of action, which say how to make, check and undo a change.

`dirtune/change/actions` has a module for each kind. A method that takes a host acts on that host;
every other method is pure. Code that only plans changes has no host to pass, so it cannot change a
machine.
"""

from abc import abstractmethod
from typing import TYPE_CHECKING, Self

import msgspec

from dirtune.change.boot_files import Row, Unwritable
from dirtune.change.interfaces import Interface
from dirtune.change.queues import Queues
from dirtune.errors import ApplyError, SourceMissing, SourceRefused
from dirtune.host import FileContents, Host, WritableHost

if TYPE_CHECKING:
    from dirtune.snapshot import Snapshot


class Saved(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state before a change. Each kind of action uses some of the fields."""

    text: str | None = None
    """The text of a kernel file."""
    file: FileContents | None = None
    """The contents of a file; None also if the file did not exist."""
    folder: str | None = None
    """The folder that was made for the file; None if the folder existed."""
    values: dict[str, int] | None = None
    """Values by the names of the settings, such as a NIC's."""
    handlers: int | None = None
    """The number of handlers with the action's handler name on the interrupt line."""
    interfaces: dict[str, Interface] | None = None
    """The interfaces that the action set, by their names at that time."""
    queues: Queues | None = None
    """Settings of a NIC's queues that the change may lose."""


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
        """The rows of boot files that repeat the action after a boot; empty if none are needed.

        The value is `Unwritable` if a boot file cannot hold a name that the rows need.
        """

    @property
    @abstractmethod
    def targets(self) -> frozenset[str]:
        """The names of the settings that the action sets, to find other actions that set the same.

        A command has no targets, because its effects are unknown.
        """

    @abstractmethod
    def touched(self, snapshot: "Snapshot") -> tuple[str, ...]:
        """Return the interfaces that the action takes down, for a moment or longer."""

    @abstractmethod
    def suspects(self, snapshot: "Snapshot") -> tuple[str, ...]:
        """Return the running programs and the files that may have undone the action."""

    @property
    def subject(self) -> str | None:
        """The device to name in a refusal; None to name the title of the change instead."""
        return None

    @property
    def needless(self) -> bool:
        """Whether the value was set already when the plan was made."""
        return False

    @property
    def silent(self) -> bool:
        """Whether the action does nothing when applied, and acts only when undone."""
        return False

    @property
    def follows(self) -> bool:
        """Whether the action only processes files that other changes write."""
        return False

    @property
    def adds(self) -> bool:
        """Whether the action adds something, such as an address, instead of changing a value."""
        return False

    @property
    def late_imports(self) -> tuple[str, ...]:
        """The slow modules that the methods below import when they are first called."""
        return ()

    @property
    def in_network(self) -> bool:
        """Whether the action's effect vanishes together with its network namespace."""
        return False

    # --- on a host ---

    @abstractmethod
    def save(self, host: WritableHost) -> Saved:
        """Return the present state; raises `ApplyError` if the plan saw a different state."""

    @abstractmethod
    def make(self, host: WritableHost) -> None:
        """Carry out the action."""

    @abstractmethod
    def require_made(self, saved: Saved, host: Host) -> None:
        """Raise `ApplyError` unless the host now has the values that the action sets."""

    @abstractmethod
    def undo(self, saved: Saved, host: WritableHost) -> None:
        """Restore the state from before the change; raises `ApplyError` if that fails.

        An undo may be repeated. It also works if the change was never made, because after a crash
        this is unknown. It restores the previous value, not a default.
        """

    def as_now(self, saved: Saved, host: Host) -> Self:  # noqa: ARG002  (most name no interface)
        """Return the action with the present names, if for example an interface was renamed."""
        return self

    def restored(self, saved: Saved, host: Host) -> frozenset[str]:  # noqa: ARG002  (most: none)
        """Return the names of the things that the undo sets besides `targets`."""
        return frozenset()

    def holds(self, host: Host) -> bool | None:
        """Return whether the action is in effect now; None if that cannot be checked."""
        try:
            self.require_made(Saved(), host)
        except (ApplyError, SourceMissing, SourceRefused):
            return False
        return True
