"""The records of a journal, and the state that a journal's records mean."""

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from dirtune.change.action import Action, Saved
from dirtune.change.plan import Change

SCHEMA = "dirtune/journal/2"


class Planned(msgspec.Struct, frozen=True, tag="planned", tag_field="record"):
    """The changes that are about to be made."""

    journal: str
    """The journal's name: its number and the time when it was made."""
    made: str
    """UTC, ISO 8601."""
    boot: str
    """The kernel's boot_id, which shows whether a reboot has undone the run-time changes."""
    changes: tuple[Change, ...]
    confirm_s: float
    """Seconds from `Applied` until unconfirmed changes are rolled back; 0 needs no confirmation.
    """
    forced: str | None = None
    """The reason given for overruling refusals; None if no refusal was overruled."""
    version: str = ""
    """The version of dirtune that wrote the journal."""
    on_trial: str | msgspec.UnsetType = msgspec.UNSET
    """The run of `dirtune tune` that tries the changes; missing if no run does."""
    network: str = ""
    """The network namespace of the changes, valid until the next boot; empty if it is unknown."""
    main_network: bool | msgspec.UnsetType = msgspec.UNSET
    """Whether a reboot makes the network namespace again, because it is that of process 1; missing
    if this is unknown, and in older journals."""
    schema: str = SCHEMA


class Begun(msgspec.Struct, frozen=True, tag="begun", tag_field="record"):
    """A change is about to be made. After a crash, it may or may not have been made."""

    index: int
    saved: Saved


class Applied(msgspec.Struct, frozen=True, tag="applied", tag_field="record"):
    """Every change was made and checked. A further `Applied` restarts the time to confirm."""

    at_s: float
    """Seconds since the host booted, by CLOCK_BOOTTIME."""


class Confirmed(msgspec.Struct, frozen=True, tag="confirmed", tag_field="record"):
    """The user keeps the changes."""


class RolledBack(msgspec.Struct, frozen=True, tag="rolled-back", tag_field="record"):
    """Every change was undone."""

    why: str
    """The reason: one of `KNOWN_TO_USER`, or that of the watchdog."""


ASKED = "asked"
KNOWN_TO_USER = (ASKED, "the apply failed", "the confirmation failed")
"""Reasons for an undo that the user ordered, or whose cause a command printed at that time."""


class Stuck(msgspec.Struct, frozen=True, tag="stuck", tag_field="record"):
    """An undo failed for some changes; it can be tried again."""

    left: tuple[str, ...]
    """The reason of each failure."""
    begun: tuple[int, ...] | msgspec.UnsetType = msgspec.UNSET
    """The numbers, from 0, of the `Begun` records whose changes remain; missing if all may remain,
    and in older journals."""


Record = Planned | Begun | Applied | Confirmed | RolledBack | Stuck


class State(StrEnum):
    """The state of a journal's changes."""

    PLANNED = "planned"
    """Not all changes were made or undone, because dirtune died or an undo failed."""
    APPLIED = "applied"
    """Every change was made, and waits for confirmation."""
    CONFIRMED = "confirmed"
    ROLLED_BACK = "rolled-back"


@dataclass(frozen=True)
class Entry:
    """A journal that was read from its file."""

    planned: Planned
    rest: tuple[Record, ...]

    @property
    def state(self) -> State:
        """The state of the changes; changes that need no confirmation count as confirmed."""
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
        """Every change that was or may have been made: its number, action and previous state.

        Changes are left out if they were undone in an undo that failed for others.
        """
        return tuple(self._begun[number] for number in self.left)

    @property
    def left(self) -> dict[int, tuple[Action, Saved]]:
        """The actions and previous states of `begun`, by the number of the `Begun` record."""
        last = self.rest[-1] if self.rest else None
        remain = last.begun if isinstance(last, Stuck) else msgspec.UNSET
        return {
            number: done
            for number, (_, done) in enumerate(self._begun)
            if remain is msgspec.UNSET or number in remain
        }

    @property
    def _begun(self) -> tuple[tuple[int, tuple[Action, Saved]], ...]:
        begun = (record for record in self.rest if isinstance(record, Begun))
        changes = self.planned.changes
        return tuple((step.index, (changes[step.index].action, step.saved)) for step in begun)

    @property
    def done(self) -> tuple[tuple[Action, Saved], ...]:
        """The actions and previous states of `begun`, without the numbers."""
        return tuple(self.left.values())

    @property
    def made(self) -> tuple[Change, ...]:
        """The changes that were made, each once."""
        numbers = sorted({index for index, _ in self.begun})
        return tuple(self.planned.changes[index] for index in numbers)

    @property
    def rolled_back_alone(self) -> str:
        """The reason why the watchdog undid the changes; empty if it did not."""
        reasons = [record.why for record in self.rest if isinstance(record, RolledBack)]
        return reasons[-1] if reasons and reasons[-1] not in KNOWN_TO_USER else ""

    def seconds_left(self, boot: str, now_s: float) -> float | None:
        """Return the seconds left to confirm; None if no changes wait for confirmation.

        The result is also None after a reboot. A value of 0 or less means that the time is over
        but the changes have not been rolled back yet.
        """
        if self.state is not State.APPLIED:
            return None
        if boot != self.planned.boot:
            return 0.0
        last_s = [record.at_s for record in self.rest if isinstance(record, Applied)][-1]
        return last_s + self.planned.confirm_s - now_s
