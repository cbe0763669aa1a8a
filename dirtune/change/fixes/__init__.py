"""The catalogue of fixes: one module per kind of fix, found by walking this package.

A fix is pure: it turns a snapshot, findings and `Surroundings` into a plan, without access to the
host. If the fix makes a change only when forced, the plan has a `Refusal` with the reason.

Most fixes carry out the settings in findings (`settings.py`). If a check's findings have no
settings, the fix for that check determines the changes itself.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from dirtune import checks
from dirtune.change.action import Action
from dirtune.change.plan import Change, Plan, Refusal, joined, needed
from dirtune.checks import Finding, Outcome, Status, discovery, run
from dirtune.errors import PlanError
from dirtune.settings import Risk, Setting
from dirtune.snapshot import Snapshot

UNUSABLE_CPU = "unusable-cpu"
"""The name of the refusal to use a CPU that is offline or isolated; `--force` takes the name."""
_T = TypeVar("_T", bound=Setting)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Facts about a host that fixes need but a snapshot lacks."""

    texts: Mapping[str, str] = field(default_factory=dict)
    """The text of each file that fixes read, by path; missing files are left out."""
    paths: frozenset[str] = frozenset()
    """The paths that fixes look for and that exist."""
    commands: frozenset[str] = frozenset()
    """The commands that fixes can use and that are installed."""
    ssh: str | None = None
    """SSH_CONNECTION of this session: the addresses of client and host; None without SSH."""


@dataclass(frozen=True, slots=True)
class Request:
    """A fix that a finding asks for."""

    check: str
    subject: str
    fix: checks.Fix

    def change(
        self, action: Action, title: str, *, risk: Risk | None = None, lasting: bool = False
    ) -> Change:
        """Return *action* as a change of this fix; a *risk* replaces the fix's own risk."""
        grave, competes = risk or self.fix.risk, self.fix.competes
        return Change(action, grave, self.check, self.fix.id, title, competes, lasting)

    def refusal(self, subject: str, why: str, *, name: str = "") -> Refusal:
        """Return a refusal of one change of this fix; *name* is the word that `--force` takes."""
        return Refusal(self.check, self.fix.id, subject, why, name)


@dataclass(frozen=True, slots=True)
class Question:
    """The input of a fix."""

    snapshot: Snapshot
    around: Surroundings = Surroundings()
    asked: tuple[Request, ...] = ()
    force: frozenset[str] = frozenset()
    """Names of refusals to overrule."""

    def settings(self, kind: type[_T]) -> Iterator[tuple[Request, _T]]:
        """Yield each requested setting of one *kind*, together with the fix that asks for it."""
        for each in self.asked:
            for setting in each.fix.settings:
                if isinstance(setting, kind):
                    yield each, setting


@dataclass(frozen=True, slots=True)
class Fix:
    """A kind of fix, and the facts about a host that it needs."""

    id: str
    function: Callable[[Question], Iterable[Change | Refusal]]
    checks: tuple[str, ...] = ()
    """The checks for which it determines the changes itself; empty if it carries out settings."""
    risk: Risk = Risk.SAFE
    """The risk of the changes that it determines itself."""
    title: str = ""
    reads: tuple[str, ...] = ()
    """Patterns of the files whose text it needs."""
    looks: tuple[str, ...] = ()
    """Patterns of the paths whose existence it needs to know."""
    commands: tuple[str, ...] = ()

    def plan(self, question: Question) -> Plan:
        """Return the changes that are needed; an empty plan if everything is set already."""
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
    """Return the checks that *words* name, each with the id of the fix to apply.

    For the word `ipvs/conn-reuse-delay`, the id is None: dirtune applies the first fix that it can
    make. For `ipvs/conn-reuse-delay/stop-ipvs-conntrack`, the id is `stop-ipvs-conntrack`. Raises
    `PlanError` for an unknown check.
    """
    choices: dict[str, str | None] = {}
    for word in words:
        family, _, rest = word.partition("/")
        name, _, fix = rest.partition("/")
        if refusal := discovery.no_such(f"{family}/{name}" if name else family):
            raise PlanError(refusal)
        choices[f"{family}/{name}"] = fix or None
    return choices


def by_themselves(wanted: Mapping[str, str | None]) -> tuple[Fix, ...]:
    """Return the fixes that compute their changes for a check in *wanted* without settings."""
    return tuple(
        fix
        for fix in all_fixes()
        if any(check in wanted and wanted[check] in {None, fix.id} for check in fix.checks)
    )


def ask(
    snapshot: Snapshot, choices: Mapping[str, str | None]
) -> tuple[tuple[Request, ...], tuple[Refusal, ...]]:
    """Return the fixes that the findings of the checks in *choices* ask for, and the refusals.

    A refusal names a check that could not be decided, or a finding that only a person can fix.
    """
    served = {check for fix in by_themselves(choices) for check in fix.checks}
    chosen = tuple(check for check in discovery.all_checks() if check.id in choices)
    answers: list[Request | Refusal] = []
    for outcome in run(chosen, snapshot):
        check = outcome.check.id
        if not outcome.findings and outcome.status is not Status.PASSED:
            why = f"could not be decided: {outcome.reason}"
            answers.append(Refusal(check, "", check, why))
        elif check not in served:
            answers += (_answer(check, finding, choices[check]) for finding in outcome.findings)
    return (
        tuple(answer for answer in answers if isinstance(answer, Request)),
        tuple(answer for answer in answers if isinstance(answer, Refusal)),
    )


def findings(outcomes: Iterable[Outcome]) -> dict[str, str | None]:
    """Return the checks that have a finding in *outcomes*, with None as the id of the fix."""
    return {outcome.check.id: None for outcome in outcomes if outcome.findings}


def plan(question: Question, fixes: tuple[Fix, ...]) -> Plan:
    """Return one plan with the changes of *fixes* and the changes for all requested settings."""
    kinds = tuple(fix for fix in all_fixes() if not fix.checks)
    return joined(tuple(fix.plan(question) for fix in (*fixes, *kinds)))


def _answer(check: str, finding: Finding, fix: str | None) -> Request | Refusal:
    fits = [each for each in finding.fixes if fix in {None, each.id}]
    for each in fits:
        if each.settings:
            return Request(check, finding.subject, each)
    known = ", ".join(each.id for each in finding.fixes) or "none"
    by_hand = "; ".join(each.title for each in fits)
    why = f"must be fixed by hand: {by_hand}" if fits else f"has no fix {fix}; it has: {known}"
    return Refusal(check, fix or "", finding.subject, why)
