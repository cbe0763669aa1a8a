"""The catalogue of fixes: one module per fix, found by walking this package.

A fix is pure: from what a snapshot and a look around say it returns a plan, and it never sees
the host. What it will not do unless told to is a `Refusal` in the plan, with the reason.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dirtune.checks import Risk, all_checks, run
from dirtune.errors import PlanError
from dirtune.snapshot import Snapshot
from dirtune.tune.plan import Plan, joined, needed


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What fixes need to know beyond a snapshot."""

    texts: Mapping[str, str] = field(default_factory=dict)
    """Files that a fix reads, by path; one that is not on the host is not here."""
    paths: frozenset[str] = frozenset()
    """Paths that a fix looks for and that are there."""
    commands: frozenset[str] = frozenset()
    """Commands that a fix can use and that are there."""


@dataclass(frozen=True, slots=True)
class Fix:
    """A fix, and what it wants to know."""

    id: str
    checks: tuple[str, ...]
    """The checks whose findings it takes away."""
    risk: Risk
    title: str
    function: Callable[[Snapshot, Surroundings, bool], Plan]
    reads: tuple[str, ...] = ()
    """Patterns of files whose text it needs."""
    looks: tuple[str, ...] = ()
    """Patterns of paths it needs to know the existence of."""
    commands: tuple[str, ...] = ()

    def plan(self, snapshot: Snapshot, around: Surroundings, *, force: bool = False) -> Plan:
        """Return what is to be done; nothing where all is as the fix would have it."""
        plan = self.function(snapshot, around, force)
        return Plan(needed(plan.changes), plan.refusals)


def all_fixes() -> tuple[Fix, ...]:
    """Return every fix in the package, by id."""
    modules = (
        importlib.import_module(info.name)
        for info in pkgutil.iter_modules(__path__, f"{__name__}.")
    )
    found = (value for module in modules for value in vars(module).values())
    return tuple(sorted((f for f in found if isinstance(f, Fix)), key=lambda f: f.id))


def serving(checks: tuple[str, ...]) -> tuple[Fix, ...]:
    """Return the fixes of *checks*; `PlanError` names one that has none."""
    fixes = all_fixes()
    served = {check for fix in fixes for check in fix.checks}
    for check in checks:
        if check not in served:
            raise PlanError(f"{check}: no fix; there are fixes for {', '.join(sorted(served))}")
    return tuple(fix for fix in fixes if set(fix.checks) & set(checks))


def for_findings(snapshot: Snapshot) -> tuple[Fix, ...]:
    """Return the fixes of every check that finds something in *snapshot*."""
    outcomes = run(all_checks(), snapshot)
    found = {outcome.check.id for outcome in outcomes if outcome.findings}
    return tuple(fix for fix in all_fixes() if found.intersection(fix.checks))


def plan(
    fixes: tuple[Fix, ...], snapshot: Snapshot, around: Surroundings, *, force: bool = False
) -> Plan:
    """Return one plan of all *fixes*."""
    return joined(tuple(fix.plan(snapshot, around, force=force) for fix in fixes))
