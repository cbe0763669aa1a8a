"""Decide what to change on a host, as data. Nothing here touches one.

A plan is a sequence of changes. Each is one action, with the risk it carries and the check that
asked for it; each can be undone. Order matters in both directions: changes are made first to last
and undone last to first.
"""

import msgspec

from dirtune.change.actions import AnyAction
from dirtune.settings import Risk


class Change(msgspec.Struct, frozen=True):
    """One action, and why."""

    action: AnyAction
    risk: Risk
    reason: str
    """The id of the check that asked for it."""
    fix: str
    """The id of the fix."""
    title: str
    """The effect in a few words."""
    competes: tuple[str, ...] = ()
    """What on this host sets the same by itself, and so may undo it."""
    lasting: bool = False
    """Whether it outlives a reboot, and so is made only once the rest was confirmed."""


class Refusal(msgspec.Struct, frozen=True):
    """Something a fix does not do unless it is told to, and why."""

    reason: str
    """The id of the check that asked for it."""
    fix: str
    subject: str
    """The device or file that is left alone."""
    why: str
    name: str = ""
    """What `--force` calls it; empty where it cannot be done at all."""


class Plan(msgspec.Struct, frozen=True):
    """The changes that would be made, and those that are refused."""

    changes: tuple[Change, ...] = ()
    refusals: tuple[Refusal, ...] = ()

    @property
    def risk(self) -> Risk | None:
        """The gravest risk of all changes; None where nothing is to be done."""
        return max((change.risk for change in self.changes), key=list(Risk).index, default=None)


def joined(plans: tuple[Plan, ...]) -> Plan:
    """Put *plans* one behind the other, what outlives a reboot last."""
    changes = (change for plan in plans for change in plan.changes)
    return Plan(
        tuple(sorted(changes, key=lambda change: change.lasting)),
        tuple(refusal for plan in plans for refusal in plan.refusals),
    )


def needed(changes: tuple[Change, ...]) -> tuple[Change, ...]:
    """Drop changes that would set nothing anew; commands go with the files they follow."""
    left = tuple(change for change in changes if not change.action.needless)
    return left if any(not change.action.follows for change in left) else ()
