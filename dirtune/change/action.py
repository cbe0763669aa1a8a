"""The base of every kind of action: what a kind decides on data, and what it does on a host.

`dirtune/change/actions` has a module for each kind. A method that is handed a host acts on that
host; every other one is pure. A kind's module reaches a machine in no other way, so whoever
decides, and has no host, cannot change one.
"""

from abc import abstractmethod

import msgspec

from dirtune.change.boot_files import Row, Unwritable
from dirtune.change.interfaces import Interface
from dirtune.errors import ApplyError, SourceMissing, SourceRefused
from dirtune.host import FileContents, Host, WritableHost
from dirtune.snapshot import Snapshot


class Saved(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state before a change. Which field holds it depends on the kind of action."""

    text: str | None = None
    """A kernel file as it read."""
    file: FileContents | None = None
    """A file to the byte; None also where there was none."""
    folder: str | None = None
    """The folder that had to be made for it; None where it was there."""
    values: dict[str, int] | None = None
    """Settings by name, such as a NIC's."""
    handlers: int | None = None
    """How many handlers of that name the interrupt line had."""
    interfaces: dict[str, Interface] | None = None
    """The interfaces that were set, by their names then; each may have another one since."""


class Action(msgspec.Struct, frozen=True):
    """One thing that dirtune sets on a host; a journal holds it as JSON, with the kind's tag."""

    # --- on data ---

    @property
    @abstractmethod
    def commands(self) -> tuple[str, ...]:
        """The shell commands that do the same."""

    @property
    @abstractmethod
    def kept(self) -> tuple[Row, ...] | Unwritable:
        """The rows of files that make it again after a boot; none where it needs none."""

    @property
    @abstractmethod
    def targets(self) -> frozenset[str]:
        """The things that it sets, to tell whether another action sets one of them too.

        Nothing for a command, because nobody knows what it sets.
        """

    @abstractmethod
    def touched(self, snapshot: Snapshot) -> tuple[str, ...]:
        """Return the interfaces that it takes down for a moment or longer."""

    @abstractmethod
    def suspects(self, snapshot: Snapshot) -> tuple[str, ...]:
        """Return the running programs, and the files, that may have set the same otherwise."""

    @property
    def subject(self) -> str | None:
        """The device that a refusal names; None where the change's title names it."""
        return None

    @property
    def needless(self) -> bool:
        """Whether the plan saw what is to be set as it shall be."""
        return False

    @property
    def silent(self) -> bool:
        """Whether nothing happens when it is made: it stands in a plan for the way back."""
        return False

    @property
    def follows(self) -> bool:
        """Whether it only makes a result from what other changes set, and is idle without them."""
        return False

    @property
    def adds(self) -> bool:
        """Whether it adds something, rather than giving something another value."""
        return False

    # --- on a host ---

    @abstractmethod
    def save(self, host: WritableHost) -> Saved:
        """Return what it will replace; `ApplyError` if that is not what the plan saw."""

    @abstractmethod
    def make(self, host: WritableHost) -> None:
        """Carry it out."""

    @abstractmethod
    def require_made(self, saved: Saved, host: Host) -> None:
        """Raise `ApplyError` unless its effect can be read back."""

    @abstractmethod
    def undo(self, saved: Saved, host: WritableHost) -> None:
        """Restore what was there before; `ApplyError` if that cannot be done.

        It is safe to repeat, and accepts a host where the change was never made: after a crash
        nobody knows. It restores what was there, not what a default would be.
        """

    def holds(self, host: Host) -> bool | None:
        """Return whether its effect is there now; None where that cannot be told."""
        try:
            self.require_made(Saved(), host)
        except (ApplyError, SourceMissing, SourceRefused):
            return False
        return True
