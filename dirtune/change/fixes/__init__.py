"""The catalogue of fixes: one module per kind of fix, found by walking this package.

A fix is pure: from what a snapshot, findings and a look around say it returns a plan, and it never
sees the host. What it will not do unless told to is a `Refusal` in the plan, with the reason.

Most fixes carry out what findings ask for as settings (`settings.py`); one whose finding
only says that something is to be done works out by itself what.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from dirtune import checks
from dirtune.change.action import Action
from dirtune.change.plan import Change, Plan, Refusal, joined, needed
from dirtune.checks import Finding, Outcome, Status, all_checks, run
from dirtune.errors import PlanError
from dirtune.settings import Risk, Setting
from dirtune.snapshot import Snapshot

_T = TypeVar("_T", bound=Setting)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The facts that fixes need beyond a snapshot."""

    texts: Mapping[str, str] = field(default_factory=dict)
    """Files that a fix reads, by path; one that is not on the host is not here."""
    paths: frozenset[str] = frozenset()
    """Paths that a fix looks for and that are there."""
    commands: frozenset[str] = frozenset()
    """Commands that a fix can use and that are there."""
    ssh: str | None = None
    """The client's and this host's address of the SSH connection that asks; None without one."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A fix that a finding asks for."""

    check: str
    subject: str
    fix: checks.Fix

    def change(
        self, action: Action, title: str, *, risk: Risk | None = None, lasting: bool = False
    ) -> Change:
        """Return *action* as a change that this fix asks for, of its risk unless told."""
        grave, competes = risk or self.fix.risk, self.fix.competes
        return Change(action, grave, self.check, self.fix.id, title, competes, lasting)

    def refusal(self, subject: str, why: str, *, name: str = "") -> Refusal:
        """Return why part of this fix is left alone, and what `--force` calls that."""
        return Refusal(self.check, self.fix.id, subject, why, name)


@dataclass(frozen=True, slots=True)
class Question:
    """All that a fix goes by."""

    snapshot: Snapshot
    around: Surroundings = Surroundings()
    asked: tuple[Asked, ...] = ()
    force: frozenset[str] = frozenset()
    """Names of what would be refused and is to be done all the same."""

    def settings(self, kind: type[_T]) -> Iterator[tuple[Asked, _T]]:
        """Yield what is asked of one kind of setting."""
        for each in self.asked:
            for setting in each.fix.settings:
                if isinstance(setting, kind):
                    yield each, setting


@dataclass(frozen=True, slots=True)
class Fix:
    """A kind of fix, and what it wants to know."""

    id: str
    function: Callable[[Question], Iterable[Change | Refusal]]
    checks: tuple[str, ...] = ()
    """The checks whose findings it takes away by itself; empty if it does what others ask."""
    risk: Risk = Risk.SAFE
    """Of what it does by itself."""
    title: str = ""
    reads: tuple[str, ...] = ()
    """Patterns of files whose text it needs."""
    looks: tuple[str, ...] = ()
    """Patterns of paths it needs to know the existence of."""
    commands: tuple[str, ...] = ()

    def plan(self, question: Question) -> Plan:
        """Return what is to be done; nothing where all is as the fix would have it."""
        found = tuple(self.function(question))
        changes = tuple(each for each in found if isinstance(each, Change))
        return Plan(needed(changes), tuple(e for e in found if isinstance(e, Refusal)))


def all_fixes() -> tuple[Fix, ...]:
    """Return every fix in the package, by id."""
    modules = (
        importlib.import_module(info.name)
        for info in pkgutil.iter_modules(__path__, f"{__name__}.")
    )
    found = (value for module in modules for value in vars(module).values())
    return tuple(sorted((f for f in found if isinstance(f, Fix)), key=lambda f: f.id))


def named(words: tuple[str, ...]) -> dict[str, str | None]:
    """Return the checks that *words* name, and which of its fixes each is to have.

    `ipvs/conn-reuse-delay` is the first that can be made, `ipvs/conn-reuse-delay/no-conn-reuse`
    that one. `PlanError` for a check that there is not.
    """
    choices: dict[str, str | None] = {}
    for word in words:
        family, _, rest = word.partition("/")
        name, _, fix = rest.partition("/")
        if refusal := checks.no_such(f"{family}/{name}" if name else family):
            raise PlanError(refusal)
        choices[f"{family}/{name}"] = fix or None
    return choices


def by_themselves(wanted: Mapping[str, str | None]) -> tuple[Fix, ...]:
    """Return the fixes that know by themselves what the checks *wanted* are to have."""
    return tuple(
        fix
        for fix in all_fixes()
        if any(check in wanted and wanted[check] in {None, fix.id} for check in fix.checks)
    )


def ask(
    snapshot: Snapshot, choices: Mapping[str, str | None]
) -> tuple[tuple[Asked, ...], tuple[Refusal, ...]]:
    """Return the fixes that the findings of the checks *choices* ask for.

    And why there is none for a check that could not be judged, or a finding that is for a person.
    """
    served = {check for fix in by_themselves(choices) for check in fix.checks}
    chosen = tuple(check for check in all_checks() if check.id in choices)
    answers: list[Asked | Refusal] = []
    for outcome in run(chosen, snapshot):
        check = outcome.check.id
        if not outcome.findings and outcome.status is not Status.PASSED:
            why = f"could not be decided: {outcome.reason}"
            answers.append(Refusal(check, "", check, why))
        elif check not in served:
            answers += (_answer(check, finding, choices[check]) for finding in outcome.findings)
    return (
        tuple(answer for answer in answers if isinstance(answer, Asked)),
        tuple(answer for answer in answers if isinstance(answer, Refusal)),
    )


def findings(outcomes: Iterable[Outcome]) -> dict[str, str | None]:
    """Return every check that finds something in *outcomes*, as `named` does."""
    return {outcome.check.id: None for outcome in outcomes if outcome.findings}


def plan(question: Question, fixes: tuple[Fix, ...]) -> Plan:
    """Return one plan of *fixes* that work by themselves, and of all that is asked for."""
    kinds = tuple(fix for fix in all_fixes() if not fix.checks)
    return joined(tuple(fix.plan(question) for fix in (*fixes, *kinds)))


def _answer(check: str, finding: Finding, fix: str | None) -> Asked | Refusal:
    fits = [each for each in finding.fixes if fix in {None, each.id}]
    for each in fits:
        if each.settings:
            return Asked(check, finding.subject, each)
    known = ", ".join(each.id for each in finding.fixes) or "none"
    by_hand = "; ".join(each.title for each in fits)
    why = f"needs a person: {by_hand}" if fits else f"has no fix {fix}, but {known}"
    return Refusal(check, fix or "", finding.subject, why)
