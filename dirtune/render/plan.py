"""Plans, what came of them, and whether they still hold, as text and JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from dirtune.tune import persist
from dirtune.tune.plan import Change, Plan, Refusal, commands, silent


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A fix that was not asked for."""

    fix: str
    risk: str
    check: str


@dataclass(frozen=True, slots=True)
class Held:
    """Whether a change of a journal still has its effect, and who may have undone it."""

    journal: str
    change: Change
    holds: bool
    by: tuple[str, ...] = ()


def plan_table(plan: Plan) -> str:
    """Return every change with its risk and its shell commands, then what is left alone."""
    if not plan.changes and not plan.refusals:
        return "nothing to do"
    lines: list[str] = []
    for change in plan.changes:
        if shell := commands(change.action):
            lines.append(f"{change.reason}  {change.title}  [{change.risk}]")
            lines += [f"    {row}" for command in shell for row in command.splitlines()]
            lines += [f"    {row}" for row in _notes(change)]
    return "\n".join([*lines, *map(refusal_line, plan.refusals)])


def plan_markdown(plan: Plan) -> str:
    """Return the same as a list with fenced commands."""
    lines: list[str] = []
    for change in plan.changes:
        if shell := commands(change.action):
            lines += [f"- **{change.reason}** {change.title} ({change.risk})", "", "  ```sh"]
            lines += [f"  {row}" for command in shell for row in command.splitlines()]
            lines += ["  ```", "", *(f"  {row}" for row in _notes(change)), ""]
    lines += [f"- {refusal_line(refusal)}" for refusal in plan.refusals]
    return "\n".join(lines) or "nothing to do"


def plan_json(plan: Plan) -> str:
    """Return the plan under the schema dirtune/plan/1."""
    return _json("plan", **_plan(plan))


def refusal_line(refusal: Refusal) -> str:
    """Return why one thing is left alone, and whether it can be told otherwise."""
    force = "; --force REASON overrules it" if refusal.forceable else ""
    return f"{refusal.reason}  left alone: {refusal.subject} {refusal.why}{force}"


def applied_table(
    plan: Plan, journal: str | None, confirm_s: float, left_out: Sequence[LeftOut] = ()
) -> str:
    """Return what was done, what to do next, and the fixes that were not asked for."""
    lines = [
        f"{'once confirmed' if change.lasting and confirm_s else 'done'}: {change.title}"
        for change in plan.changes
        if not silent(change.action)
    ]
    lines += _next(journal, confirm_s)
    if any(change.risk == "reboot" for change in plan.changes):
        lines.append("takes effect at the next boot")
    lines += map(refusal_line, plan.refusals)
    lines += (
        f"left out: {each.fix} is {each.risk}; dirtune fix apply {each.check}" for each in left_out
    )
    return "\n".join(lines)


def applied_json(
    plan: Plan, journal: str | None, confirm_s: float, left_out: Sequence[LeftOut] = ()
) -> str:
    """Return it under the schema dirtune/applied/1; `journal` is null if nothing was done."""
    state = None if journal is None else "applied" if confirm_s else "confirmed"
    said = {"journal": journal, "state": state, "confirm_s": confirm_s}
    return _json("applied", **said, **_plan(plan), left_out=tuple(each.fix for each in left_out))


def settled_table(journal: str, state: str, *, already: bool) -> str:
    """Return what became of a journal."""
    return f"{journal} {'was already' if already else 'is'} {state}"


def settled_json(journal: str, state: str, *, already: bool) -> str:
    """Return it under the schema dirtune/settled/1."""
    return _json("settled", journal=journal, state=state, already=already)


def verify_table(holding: Sequence[Held]) -> str:
    """Return one line per change: whether it still has its effect, and who may have undone it."""
    rows = (
        f"{'holds' if each.holds else 'UNDONE'}  {each.change.title}  ({each.journal})"
        + (f"  perhaps by {', '.join(each.by)}" if each.by else "")
        for each in holding
    )
    return "\n".join(rows) or "nothing that dirtune changed is in force"


def verify_json(holding: Sequence[Held]) -> str:
    """Return it under the schema dirtune/verify/1."""
    rows = (
        {"journal": e.journal, "holds": e.holds, "by": e.by, **_change(e.change)} for e in holding
    )
    return _json("verify", changes=tuple(rows))


def _notes(change: Change) -> Iterator[str]:
    if change.competes:
        yield f"also set by: {', '.join(change.competes)}"
    keeper = persist.keeper(change.action)
    if keeper and not change.lasting:
        yield f"--persist keeps it by {keeper}"


def _next(journal: str | None, confirm_s: float) -> tuple[str, ...]:
    if journal is None:
        return ("nothing to do",)
    if confirm_s:
        asked = f"taken back in {confirm_s:g} s unless you run: dirtune confirm"
        return (f"journal {journal}", asked)
    return (f"journal {journal}", f"take it back with: dirtune rollback {journal}")


def _plan(plan: Plan) -> dict[str, object]:
    return {
        "risk": plan.risk,
        "changes": tuple(map(_change, plan.changes)),
        "refusals": plan.refusals,
    }


def _change(change: Change) -> dict[str, object]:
    fields = {name: getattr(change, name) for name in change.__struct_fields__}
    keeper = None if change.lasting else persist.keeper(change.action)
    return {**fields, "commands": commands(change.action), "persisted_by": keeper}


def _json(name: str, **fields: object) -> str:
    return msgspec.json.encode({"schema": f"dirtune/{name}/1", **fields}).decode()
