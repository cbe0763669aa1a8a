"""Make the plan of `dirtune fix`, and write its files."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dirtune import checks, reading, writing
from dirtune.change import fixes, persist
from dirtune.change.fixes import Question
from dirtune.change.guards import guarded
from dirtune.change.plan import LeftOut, Plan
from dirtune.change.surroundings import look_around
from dirtune.checks import Outcome, discovery
from dirtune.errors import NotPossible
from dirtune.host import Host
from dirtune.jobs import snapshots
from dirtune.jobs.snapshots import Source
from dirtune.snapshot import Snapshot, take, take_all

# The names of refusals, by fixes and guards: words, or a PCI function.
_NAME = re.compile(
    r"ssh|vrrp|unusable-cpu|read-later|no-old-entry|[\da-f]{4,}(:[\da-f]{2}){2}\.\d"
)
# The default time to confirm changes that may cut the host off.
_CONFIRM_S = 120


@dataclass(frozen=True, slots=True)
class Wish:
    """The options of `dirtune fix`, as a request for a plan."""

    checks: tuple[str, ...]
    root: Path | None = None
    """The recorded host to plan for; None for this machine."""
    force: tuple[str, ...] = ()
    """Refusals to overrule, each as NAME, NAME=WHY or WHY."""
    safe: bool = False
    """Whether only safe fixes are wanted."""

    @property
    def live(self) -> bool:
        """Whether the plan is for this machine, not for a recorded host."""
        return self.root is None


@dataclass(frozen=True, slots=True)
class Made:
    """A plan, the same plan with changes that keep it over a reboot, and the fixes left out."""

    plan: Plan
    kept: Plan
    left_out: tuple[LeftOut, ...]
    forced: str | None
    """The refusals that were overruled, as the options gave them; None if there were none."""
    by_hand: tuple[str, ...] = ()
    """Checks whose findings only a person can fix; empty if the user named the checks."""
    outcomes: tuple[Outcome, ...] = ()
    """The outcomes of all checks; empty if the user named the checks."""


def make(host: Host, wish: Wish) -> Made:
    """Return the plan for the named checks; without names, for all checks with findings."""
    choices = fixes.named(wish.checks)
    snapshot = _snapshot(host, wish, choices)
    outcomes = () if choices else checks.run(discovery.all_checks(), snapshot)
    choices = choices or fixes.findings(outcomes)
    alone = fixes.by_themselves(choices)
    requests, refused = fixes.ask(snapshot, choices)
    out = (
        *(LeftOut(f.id, f.risk, f.checks[0]) for f in alone if _out(wish, f.risk)),
        *(LeftOut(a.fix.id, a.fix.risk, a.check) for a in requests if _out(wish, a.fix.risk)),
    )
    alone = tuple(fix for fix in alone if not _out(wish, fix.risk))
    requests = tuple(item for item in requests if not _out(wish, item.fix.risk))
    around = look_around(host, alone, requests, live=wish.live)

    def with_force(names: frozenset[str]) -> Plan:
        made = fixes.plan(Question(snapshot, around, requests, names), alone)
        return guarded(made, snapshot, around, force=names)

    plan = overruled(with_force, wish.force)
    # A finding that only a person can fix is a refusal if its check was named, else a note.
    done = {change.reason for change in plan.changes} | {no.reason for no in plan.refusals}
    open_refusals = [item for item in refused if wish.checks and item.reason not in done]
    plan = Plan(plan.changes, (*plan.refusals, *open_refusals))
    lasting = persist.lasting(plan, around.texts)
    by_hand = () if wish.checks else tuple(sorted({no.reason for no in refused} - done))
    left_out = tuple(dict.fromkeys(out))
    return Made(plan, lasting, left_out, ", ".join(wish.force) or None, by_hand, outcomes)


def overruled(with_force: Callable[[frozenset[str]], Plan], options: Sequence[str]) -> Plan:
    """Return the plan in which the *options* `--force` overrule refusals.

    Each option is NAME or NAME=WHY. A single option may be WHY alone if there is a single refusal.
    Overruling one refusal may reveal another, so the plan is made again until nothing changes.
    Raises `NotPossible` if it is unclear which refusal an option means.
    """
    words = {word.partition("=")[0].strip(): word for word in options}
    if "" in words:
        raise NotPossible("--force needs NAME or NAME=WHY. `dirtune fix plan` prints the names.")
    names: frozenset[str] = frozenset()
    while new := (_standing(plan := with_force(names)) & words.keys()) - names:
        names |= new
    stand = _standing(plan) - names
    odd = [word for name, word in words.items() if name not in names]
    if not odd or not stand:
        return plan
    # A word that names another refusal, or may be a misspelt NAME, is not taken as WHY.
    named = "=" in odd[0] or _NAME.fullmatch(odd[0])
    if len(words) > 1 or len(stand) > 1 or named:
        raise NotPossible(
            f"--force {odd[0]}: no refusal has this name. Choose from {', '.join(sorted(stand))}."
        )
    return with_force(names | stand)


def _standing(plan: Plan) -> set[str]:
    return {refusal.name for refusal in plan.refusals if refusal.name}


def confirm_s(plan: Plan, asked: float | None) -> float:
    """Return the seconds within which the user must confirm; 0 if no confirmation is needed."""
    if asked is not None:
        return asked
    return _CONFIRM_S if any(c.risk == "disruptive" for c in plan.changes) else 0


def write(folder: Path, files: Mapping[str, tuple[str, int]]) -> tuple[Path, ...]:
    """Write the *files*, texts with modes, below *folder*, which must be empty or new."""
    if reading.is_folder(folder) and any(folder.iterdir()):
        raise NotPossible(f"{folder} is not empty. Name a new folder.")
    return writing.tree(folder, files)


def _out(wish: Wish, risk: str) -> bool:
    return wish.safe and risk != "safe"


def _snapshot(host: Host, wish: Wish, wanted: Mapping[str, str | None]) -> Snapshot:
    """Take a snapshot of *host*: two samples with netlink answers if a check may need these."""
    alone = {check for fix in fixes.by_themselves(wanted) for check in fix.checks}
    if not wish.live:
        source = Source(wish.root)
        with reading.memory_bounded(source.name):
            return snapshots.of_a_host(source, take(host))
    if wanted and alone.issuperset(wanted):
        return take(host)
    return take_all(snapshots.samples(Source()))
