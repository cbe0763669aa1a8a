"""The records of a journal, and how far what they tell of got."""

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
    """The kernel's boot_id, for what a reboot undoes by itself."""
    changes: tuple[Change, ...]
    confirm_s: float
    """Seconds from `Applied` until it is rolled back unless confirmed; 0 keeps it unasked."""
    forced: str | None = None
    """Why refusals were overruled; None where none was."""
    version: str = ""
    """The dirtune that wrote it."""
    network: str = ""
    """The network namespace of the changes, until the next boot; empty where it is not known."""
    schema: str = SCHEMA


class Begun(msgspec.Struct, frozen=True, tag="begun", tag_field="record"):
    """A change is about to be made, and perhaps was."""

    index: int
    saved: Saved


class Applied(msgspec.Struct, frozen=True, tag="applied", tag_field="record"):
    """Every change was made and read back; again, where the time to confirm was renewed."""

    at_s: float
    """The host's clock since boot, seconds (CLOCK_BOOTTIME)."""


class Confirmed(msgspec.Struct, frozen=True, tag="confirmed", tag_field="record"):
    """Somebody keeps the changes."""


class RolledBack(msgspec.Struct, frozen=True, tag="rolled-back", tag_field="record"):
    """Every change was undone."""

    why: str


class Stuck(msgspec.Struct, frozen=True, tag="stuck", tag_field="record"):
    """An undo was tried, and this is left; it can be tried again."""

    left: tuple[str, ...]


Record = Planned | Begun | Applied | Confirmed | RolledBack | Stuck


class State(StrEnum):
    """How far it got."""

    PLANNED = "planned"
    """Begun and not finished: dirtune died, or an undo is stuck."""
    APPLIED = "applied"
    """Everything made, waiting to be confirmed."""
    CONFIRMED = "confirmed"
    ROLLED_BACK = "rolled-back"


@dataclass(frozen=True)
class Entry:
    """A journal as read."""

    planned: Planned
    rest: tuple[Record, ...]

    @property
    def state(self) -> State:
        """How far it got; what is not confirmed and needs no confirmation counts as such."""
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
        """Every change that was made or may have been, by its number, with what was there."""
        begun = (record for record in self.rest if isinstance(record, Begun))
        changes = self.planned.changes
        return tuple((step.index, (changes[step.index].action, step.saved)) for step in begun)

    @property
    def done(self) -> tuple[tuple[Action, Saved], ...]:
        """The same without the numbers."""
        return tuple(done for _, done in self.begun)

    @property
    def made(self) -> tuple[Change, ...]:
        """The changes that were made, each once."""
        numbers = sorted({index for index, _ in self.begun})
        return tuple(self.planned.changes[index] for index in numbers)

    def seconds_left(self, boot: str, now_s: float) -> float | None:
        """Seconds until the window of confirmation closes; None if there is none open.

        A reboot closes it. Not above 0 says it is over and nobody took the changes back yet.
        """
        if self.state is not State.APPLIED:
            return None
        if boot != self.planned.boot:
            return 0.0
        last_s = [record.at_s for record in self.rest if isinstance(record, Applied)][-1]
        return last_s + self.planned.confirm_s - now_s
