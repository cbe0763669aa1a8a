"""Making the plan of `dirtune fix`, and writing it as files."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dirtune import checks, reading, writing
from dirtune.change import fixes, persist
from dirtune.change.fixes import Question
from dirtune.change.guards import guarded
from dirtune.change.plan import Plan, Refusal
from dirtune.change.surroundings import look_around
from dirtune.checks import Outcome
from dirtune.errors import NotPossible
from dirtune.host import Host
from dirtune.jobs import snapshots
from dirtune.jobs.snapshots import Source
from dirtune.render import fix_files
from dirtune.render import plan as render
from dirtune.render.overview import undecided
from dirtune.snapshot import Snapshot, take, take_all

# What the refusals of fixes and guards are called: words, or a PCI function.
_NAME = re.compile(
    r"ssh|vrrp|unusable-cpu|read-later|no-old-entry|[\da-f]{4,}(:[\da-f]{2}){2}\.\d"
)
# What may cut the host off waits to be confirmed.
_CONFIRM_S = 120


@dataclass(frozen=True, slots=True)
class Wish:
    """The request that the options make."""

    checks: tuple[str, ...]
    root: Path | None = None
    """The recorded host it is for; None for this machine."""
    force: tuple[str, ...] = ()
    """What is refused and is to be done all the same."""
    safe: bool = False
    """Whether only what is safe is wanted."""

    @property
    def live(self) -> bool:
        """Whether it is for this machine, and no record of another."""
        return self.root is None


@dataclass(frozen=True, slots=True)
class Made:
    """The plan, with what keeps it over a reboot behind it in another, and what is left out."""

    plan: Plan
    kept: Plan
    left_out: tuple[render.LeftOut, ...]
    forced: str | None
    """What was refused and is done all the same, as the options said it."""
    notes: tuple[str, ...] = ()
    """Findings and checks that the plan leaves open, one sentence each."""


def make(host: Host, wish: Wish) -> Made:
    """Return the plan of the checks that are named, or else of all that find something."""
    choices = fixes.named(wish.checks)
    snapshot = _snapshot(host, wish, choices)
    outcomes = () if choices else checks.run(checks.all_checks(), snapshot)
    choices = choices or fixes.findings(outcomes)
    alone = fixes.by_themselves(choices)
    requests, refused = fixes.ask(snapshot, choices)
    out = (
        *(render.LeftOut(f.id, f.risk, f.checks[0]) for f in alone if _out(wish, f.risk)),
        *(
            render.LeftOut(a.fix.id, a.fix.risk, a.check)
            for a in requests
            if _out(wish, a.fix.risk)
        ),
    )
    alone = tuple(fix for fix in alone if not _out(wish, fix.risk))
    requests = tuple(item for item in requests if not _out(wish, item.fix.risk))
    around = look_around(host, alone, requests, live=wish.live)

    def with_force(names: frozenset[str]) -> Plan:
        made = fixes.plan(Question(snapshot, around, requests, names), alone)
        return guarded(made, snapshot, around, force=names)

    plan = overruled(with_force, wish.force)
    # What is for a person is said where it was asked for by name; the audit says it anyhow.
    done = {change.reason for change in plan.changes} | {no.reason for no in plan.refusals}
    open_refusals = [item for item in refused if wish.checks and item.reason not in done]
    plan = Plan(plan.changes, (*plan.refusals, *open_refusals))
    lasting = persist.lasting(plan, around.texts)
    notes = () if wish.checks else tuple(_left_open(outcomes, refused, done))
    left_out = tuple(dict.fromkeys(out))
    return Made(plan, lasting, left_out, ", ".join(wish.force) or None, notes)


def _left_open(
    outcomes: Sequence[Outcome], refused: Sequence[Refusal], done: set[str]
) -> Iterator[str]:
    """Yield what keeps a plan of all that the audit finds from being the whole remedy."""
    by_hand = sorted({each.reason for each in refused} - done)
    if by_hand:
        yield f"for a person to mend: {', '.join(by_hand)}; `dirtune audit` says how"
    if open_ := undecided(outcomes):
        yield f"{open_}, and nothing is planned for those; `dirtune audit -v` says why"


def overruled(with_force: Callable[[frozenset[str]], Plan], options: Sequence[str]) -> Plan:
    """Return the plan in which what *options* names is no longer refused.

    Each word is NAME or NAME=WHY. The only one may be why alone, where one thing only is refused;
    `NotPossible` where that leaves open which. What is refused only once something else is not, is
    looked at in turn.
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
    # What names another refusal, which does not stand here, or may be a NAME misspelt, is no
    # reason for this one.
    named = "=" in odd[0] or _NAME.fullmatch(odd[0])
    if len(words) > 1 or len(stand) > 1 or named:
        raise NotPossible(
            f"--force {odd[0]}: names none of what is refused: {', '.join(sorted(stand))}"
        )
    return with_force(names | stand)


def _standing(plan: Plan) -> set[str]:
    return {refusal.name for refusal in plan.refusals if refusal.name}


def confirm_s(plan: Plan, asked: float | None) -> float:
    """Return how long to wait for a confirmation; 0 waits for none."""
    if asked is not None:
        return asked
    return _CONFIRM_S if any(c.risk == "disruptive" for c in plan.changes) else 0


def refuse_nothing_but_refusals(plan: Plan) -> None:
    """Raise `NotPossible` where all that was asked for is refused."""
    if plan.refusals and not plan.changes:
        raise NotPossible(" | ".join(map(render.refusal_line, plan.refusals)))


def write(folder: Path, made: Made) -> tuple[Path, ...]:
    """Write the plan as files below *folder*, which must not hold anything else."""
    if reading.is_folder(folder) and any(folder.iterdir()):
        raise NotPossible(f"{folder} is not empty. Name a new folder.")
    return writing.tree(folder, fix_files.files(made.plan, made.kept))


def _out(wish: Wish, risk: str) -> bool:
    return wish.safe and risk != "safe"


def _snapshot(host: Host, wish: Wish, wanted: Mapping[str, str | None]) -> Snapshot:
    """Take two samples, for rates and what netlink tells, where a check may want them."""
    alone = {check for fix in fixes.by_themselves(wanted) for check in fix.checks}
    if not wish.live:
        source = Source(wish.root)
        with reading.memory_bounded(source.name):
            return snapshots.of_a_host(source, take(host))
    if wanted and alone.issuperset(wanted):
        return take(host)
    return take_all(snapshots.samples(Source()))
