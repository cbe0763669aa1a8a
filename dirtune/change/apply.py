"""Carry out a plan step by step: save, journal, make, check. If a step fails, undo everything."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from dirtune.change.action import Action, Saved
from dirtune.errors import ApplyError, DirtuneError, NotPossible
from dirtune.exit_status import fault
from dirtune.host import WritableHost
from dirtune.signals import undisturbed

Done = tuple[Action, Saved]
ON_THE_WAY = ("the undo was begun but not finished",)


class Journal(Protocol):
    """A record of the changes. Each method returns once its record is on the disk."""

    def begun(self, index: int, saved: Saved) -> None:
        """Record that action number *index* is about to be made, and the state before it."""
        ...

    def applied(self) -> None:
        """Record that every action was made and checked."""
        ...

    def undone(self, stuck: tuple[str, ...], left: tuple[int, ...] | None = None) -> None:
        """Record that all actions were undone except those whose failures *stuck* names.

        *left* are the numbers of the calls of `begun`, from 0, whose actions were not undone; None
        if all may remain.
        """
        ...


def apply(actions: Sequence[Action], host: WritableHost, journal: Journal) -> None:
    """Carry out *actions* in order; before each action, *journal* records the present state.

    After any failure, including Ctrl-C, all actions made so far are undone, the last one first,
    and the failure is raised again. Raises `ApplyError`, with the failure and the names of the
    actions, if some actions cannot be undone.
    """
    done: list[Done] = []
    all_made = False
    with undisturbed() as section:
        try:
            with section.interruptible():
                carry_through(actions, host, journal, done)
                all_made = True
                journal.applied()
        except BaseException as error:  # Ctrl-C too: half a plan is worse than none
            # The journal may say that all was made. If the undo is killed halfway, the changes can
            # then be neither kept nor confirmed.
            if all_made:
                with suppress(NotPossible):
                    journal.undone(ON_THE_WAY)
            failures = undo_each(dict(enumerate(done)), host)
            stuck = tuple(failures.values())
            # On a full disk this fails: the journal then stays unfinished, and can be rolled back
            # again.
            with suppress(NotPossible):
                journal.undone(stuck, tuple(failures))
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
    """Carry out *actions*, whose numbers begin with *first*, and add each one to *done*."""
    for index, action in enumerate(actions, first):
        saved = action.save(host)
        journal.begun(index, saved)
        done.append((action, saved))
        action.make(host)
        action.require_made(saved, host)


def roll_back(done: Sequence[Done], host: WritableHost) -> tuple[str, ...]:
    """Undo *done*, the last action first; return an error message for each undo that failed."""
    return tuple(undo_each(dict(enumerate(done)), host).values())


def undo_each(done: Mapping[int, Done], host: WritableHost) -> dict[int, str]:
    """Undo the actions in *done*, the last one first.

    Return an error message for each undo that failed, by the number of the action in *done*.
    """
    failures: dict[int, str] = {}
    for number, (action, saved) in reversed([*done.items()]):
        try:
            action.undo(saved, host)
        except DirtuneError as error:
            failures[number] = str(error)
        except Exception as error:  # noqa: BLE001  (a fault in one undo must not stop the others)
            failures[number] = fault(error)
    return failures
