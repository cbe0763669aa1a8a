"""Carry out a plan: save, journal, make, read back; undo everything if one step does not take."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from dirtune.change.action import Action, Saved
from dirtune.errors import ApplyError, DirtuneError, NotPossible
from dirtune.exit_status import fault
from dirtune.host import WritableHost
from dirtune.signals import undisturbed

Done = tuple[Action, Saved]


class Journal(Protocol):
    """The memory of what is done, on the disk before a call returns."""

    def begun(self, index: int, saved: Saved) -> None:
        """The action number *index* is about to be made; *saved* is what is there."""
        ...

    def applied(self) -> None:
        """Every action was made and read back."""
        ...

    def undone(self, stuck: tuple[str, ...]) -> None:
        """Every action was undone but for what *stuck* names."""
        ...


def apply(actions: Sequence[Action], host: WritableHost, journal: Journal) -> None:
    """Carry out *actions* in order, having *journal* keep what was there before each.

    On any failure, Ctrl-C included, what was done is undone, last first, and the failure is
    raised again. `ApplyError` then also names what could not be undone.
    """
    done: list[Done] = []
    with undisturbed() as section:
        try:
            with section.interruptible():
                carry_through(actions, host, journal, done)
                journal.applied()
        except BaseException as error:  # Ctrl-C too: half a plan is worse than none
            stuck = roll_back(done, host)
            # A full disk does not take it: then the journal still says that it was not finished,
            # and can be rolled back again.
            with suppress(NotPossible):
                journal.undone(stuck)
            if stuck:
                raise ApplyError(f"{error}; could not undo: {'; '.join(stuck)}") from error
            raise


def carry_through(
    actions: Sequence[Action],
    host: WritableHost,
    journal: Journal,
    done: list[Done],
    *,
    first: int = 0,
) -> None:
    """Carry out *actions*, of which the first has the number *first*, and add them to *done*."""
    for index, action in enumerate(actions, first):
        saved = action.save(host)
        journal.begun(index, saved)
        done.append((action, saved))
        action.make(host)
        action.require_made(saved, host)


def roll_back(done: Sequence[Done], host: WritableHost) -> tuple[str, ...]:
    """Undo *done*, last first, trying every one; return what could not be undone and why."""
    stuck: list[str] = []
    for action, saved in reversed(done):
        try:
            action.undo(saved, host)
        except DirtuneError as error:
            stuck.append(str(error))
        except Exception as error:  # noqa: BLE001  (a fault in one undo must not stop the others)
            stuck.append(fault(error))
    return tuple(stuck)
