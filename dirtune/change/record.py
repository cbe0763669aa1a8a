"""The records of a journal, and the state that follows from them."""

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from dirtune.change.action import Action, Saved
from dirtune.change.plan import Change

SCHEMA = "dirtune/journal/2"


class Planned(msgspec.Struct, frozen=True, tag="planned", tag_field="record"):
    """The changes that are about to be made."""

    journal: str
    """The journal's name: its number and when it was made."""
    made: str
    """UTC, ISO 8601."""
    boot: str
    """The kernel's boot_id, which shows whether a reboot has undone the run-time changes."""
    changes: tuple[Change, ...]
    confirm_s: float
    """Seconds from `Applied` until unconfirmed changes are rolled back; 0 keeps the changes."""
    forced: str | None = None
    """Why refusals were overruled; None if none was."""
    version: str = ""
    """The version of dirtune that wrote the journal."""
    network: str = ""
    """The network namespace of the changes, valid until the next boot; empty if it is unknown."""
    schema: str = SCHEMA


class Begun(msgspec.Struct, frozen=True, tag="begun", tag_field="record"):
    """A change is about to be made; after a crash, it may have been made or not."""

    index: int
    saved: Saved


class Applied(msgspec.Struct, frozen=True, tag="applied", tag_field="record"):
    """Every change was made and checked, or the time to confirm was restarted."""

    at_s: float
    """Seconds since the host booted, by CLOCK_BOOTTIME."""


class Confirmed(msgspec.Struct, frozen=True, tag="confirmed", tag_field="record"):
    """The user keeps the changes."""


class RolledBack(msgspec.Struct, frozen=True, tag="rolled-back", tag_field="record"):
    """Every change was undone."""

    why: str


class Stuck(msgspec.Struct, frozen=True, tag="stuck", tag_field="record"):
    """An undo was tried, but some changes are left; it can be tried again."""

    left: tuple[str, ...]


Record = Planned | Begun | Applied | Confirmed | RolledBack | Stuck


class State(StrEnum):
    """How far a journal got."""

    PLANNED = "planned"
    """Begun but not finished: dirtune died, or an undo failed."""
    APPLIED = "applied"
    """Every change was made, and waits to be confirmed."""
    CONFIRMED = "confirmed"
    ROLLED_BACK = "rolled-back"


@dataclass(frozen=True)
class Entry:
    """A journal that was read from its file."""

    planned: Planned
    rest: tuple[Record, ...]

    @property
    def state(self) -> State:
        """How far the journal got; changes that need no confirmation count as confirmed."""
        kinds = {type(record) for record in self.rest}
        if RolledBack in kinds:
            return State.ROLLED_BACK
        if self.rest and isinstance(self.rest[-1], Stuck):
            return State.PLANNED
        if Confirmed in kinds:
            return State.CONFIRMED
        if Applied not in kinds:
            return State.PLANNED
        return State.APPLIED if self.planned.confirm_s else State.CONFIRMED

    @property
    def begun(self) -> tuple[tuple[int, tuple[Action, Saved]], ...]:
        """Every change that was or may have been made, by number, with what was there before."""
        begun = (record for record in self.rest if isinstance(record, Begun))
        changes = self.planned.changes
        return tuple((step.index, (changes[step.index].action, step.saved)) for step in begun)

    @property
    def done(self) -> tuple[tuple[Action, Saved], ...]:
        """The changes of `begun`, without their numbers."""
        return tuple(done for _, done in self.begun)

    @property
    def made(self) -> tuple[Change, ...]:
        """The changes that were made, each once."""
        numbers = sorted({index for index, _ in self.begun})
        return tuple(self.planned.changes[index] for index in numbers)

    def seconds_left(self, boot: str, now_s: float) -> float | None:
        """Return the seconds left to confirm; None if no changes wait for confirmation.

        A reboot ends the time. A value of 0 or less means that the time is over and the changes
        have not been rolled back yet.
        """
        if self.state is not State.APPLIED:
            return None
        if boot != self.planned.boot:
            return 0.0
        last_s = [record.at_s for record in self.rest if isinstance(record, Applied)][-1]
        return last_s + self.planned.confirm_s - now_s
