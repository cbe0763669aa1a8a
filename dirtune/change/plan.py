"""Plans of changes to a host, as data. Nothing here accesses a host.

A plan is a sequence of changes. A change is one action that can be undone, with its risk and the
check that asked for it. The last change is undone first.
"""

import shlex

import msgspec

from dirtune.change import actions
from dirtune.settings import Risk


class Change(msgspec.Struct, frozen=True):
    """One action, with its risk and its reason."""

    action: "actions.AnyAction"  # in quotes, because decoders alone need the union of all kinds
    risk: Risk
    reason: str
    """The id of the check that asked for the change."""
    fix: str
    """The id of the fix."""
    title: str
    """The effect in a few words."""
    competes: tuple[str, ...] = ()
    """Programs and files on this host that set the same value, and so may undo the change."""
    lasting: bool = False
    """Whether the change outlives a reboot; such changes are made only after confirmation."""


class Refusal(msgspec.Struct, frozen=True):
    """A change that dirtune refuses, with the reason; --force may overrule the refusal."""

    reason: str
    """The id of the check that asked for the change."""
    fix: str
    subject: str
    """The device or file that dirtune does not change."""
    why: str
    """The reason, as a predicate of *subject*: "is offline or isolated"."""
    name: str = ""
    """The name that `--force` takes; empty if the change cannot be forced."""

    @property
    def why_not(self) -> str:
        """Why the change is refused, and the option that makes dirtune apply it anyway."""
        return f"{self.subject} {self.why}{overruled_by(self.name)}"


def overruled_by(name: str) -> str:
    """Return a clause with the option that overrules the refusal *name*; "" for no name."""
    return f"; --force {shlex.quote(name)} allows the change" if name else ""


class LeftOut(msgspec.Struct, frozen=True):
    """A fix that was skipped because its risk was not allowed."""

    fix: str
    risk: str
    check: str


class Plan(msgspec.Struct, frozen=True):
    """The changes that would be made, and the refusals."""

    changes: tuple[Change, ...] = ()
    refusals: tuple[Refusal, ...] = ()

    @property
    def risk(self) -> Risk | None:
        """The highest risk among the changes; None if there are no changes."""
        return max((change.risk for change in self.changes), key=list(Risk).index, default=None)


def joined(plans: tuple[Plan, ...]) -> Plan:
    """Join *plans* in order; changes that outlive a reboot come last."""
    changes = (change for plan in plans for change in plan.changes)
    return Plan(
        tuple(sorted(changes, key=lambda change: change.lasting)),
        tuple(refusal for plan in plans for refusal in plan.refusals),
    )


def needed(changes: tuple[Change, ...]) -> tuple[Change, ...]:
    """Return the changes that are not yet in effect.

    The result is empty if only commands would be left that follow a change, such as a reload.
    """
    left = tuple(change for change in changes if not change.action.needless)
    return left if any(not change.action.follows for change in left) else ()
