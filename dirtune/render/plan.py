"""Render planned changes, applied changes, and whether these are still in effect."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from dirtune.change import persist
from dirtune.change.documents import (
    AppliedDocument,
    HeldChange,
    PlanDocument,
    SettledDocument,
    ShownChange,
    VerifyDocument,
)
from dirtune.change.plan import Change, LeftOut, Plan, Refusal
from dirtune.escape import one_line
from dirtune.render.markdown import code_block, escaped


@dataclass(frozen=True, slots=True)
class Held:
    """A change in a journal, whether it is still in effect, and what may have undone it."""

    journal: str
    change: Change
    holds: bool
    by: tuple[str, ...] = ()
    on_trial: str = ""


def plan_table(plan: Plan, notes: Sequence[str] = ()) -> str:
    """Return every change with its risk and its shell commands, then the refusals and *notes*.

    Without any of these, the text is `nothing to do`.
    """
    lines: list[str] = []
    for change in plan.changes:
        if shell := change.action.commands:
            lines.append(f"{change.reason}  {change.title}  [{change.risk}]")
            lines += [f"    {row}" for command in shell for row in command.split("\n")]
            # The notes are comments, because people paste these lines into a shell.
            lines += [f"    # {row}" for row in _notes(change)]
    lines += [*map(refusal_line, plan.refusals), *notes]
    return "\n".join(map(one_line, lines)) or "nothing to do"


def plan_markdown(plan: Plan, notes: Sequence[str] = ()) -> str:
    """Return the plan as a Markdown list with fenced commands."""
    lines: list[str] = []
    for change in plan.changes:
        if shell := change.action.commands:
            title = escaped(change.title)
            rows = (row for command in shell for row in command.split("\n"))
            lines += [f"- **{change.reason}** {title} ({change.risk})", ""]
            lines += [f"  {row}" for row in code_block(rows, "sh")]
            lines += ["", *(f"  - {escaped(row)}" for row in _notes(change)), ""]
    lines += [f"- {escaped(refusal_line(refusal))}" for refusal in plan.refusals]
    lines += [f"- {escaped(note)}" for note in notes]
    return "\n".join(lines) or "nothing to do"


def plan_json(plan: Plan, _notes: Sequence[str] = ()) -> str:
    """Return the plan as JSON in the schema `dirtune/plan/1`."""
    shown = tuple(map(_shown, plan.changes))
    return _json(PlanDocument(risk=plan.risk, changes=shown, refusals=plan.refusals))


def refusal_line(refusal: Refusal) -> str:
    """Return why a change is refused, and the option that makes dirtune apply it anyway."""
    return f"{refusal.reason}  refused: {refusal.why_not}"


def applied_table(
    plan: Plan,
    journal: str | None,
    confirm_s: float,
    left_out: Sequence[LeftOut] = (),
    notes: Sequence[str] = (),
    host: str | None = None,
) -> str:
    """Return the changes that were made, the next step, the refusals and the skipped fixes.

    *host* is the SSH host of the changes; None for this host.
    """
    lines = [
        f"{'after confirm' if change.lasting and confirm_s else 'done'}: {change.title}"
        for change in plan.changes
        if not change.action.silent
    ]
    lines += _next(journal, confirm_s, host) if journal or not notes else ("nothing was applied",)
    if any(change.risk == "reboot" for change in plan.changes):
        lines.append('changes with the risk "reboot" take effect at the next boot')
    lines += map(refusal_line, plan.refusals)
    lines += (
        f"skipped: {fix.fix} has the risk {fix.risk}. Apply this fix with: "
        f"dirtune fix apply {shlex.quote(fix.check)}"
        for fix in left_out
    )
    return "\n".join(map(one_line, [*lines, *notes]))


def applied_json(
    plan: Plan,
    journal: str | None,
    confirm_s: float,
    left_out: Sequence[LeftOut] = (),
    _notes: Sequence[str] = (),
) -> str:
    """Return the result as JSON (`dirtune/applied/1`); `journal` is null if nothing changed."""
    return _json(applied_document(plan, journal, confirm_s, left_out))


def far_applied_table(done: AppliedDocument, host: str) -> str:
    """Return the changes that the dirtune on *host* made, and the next step."""
    plan = Plan(done.changes, done.refusals)
    skipped = tuple(
        f"skipped: {fix} is not safe. Apply this fix by the name of its check."
        for fix in done.left_out
    )
    return applied_table(plan, done.journal, done.confirm_s, (), skipped, host)


def far_applied_json(done: AppliedDocument, _host: str) -> str:
    """Return the result of the dirtune on another host as JSON (`dirtune/applied/1`)."""
    return _json(done)


def applied_document(
    plan: Plan, journal: str | None, confirm_s: float, left_out: Sequence[LeftOut] = ()
) -> AppliedDocument:
    """Return the result in the schema `dirtune/applied/1`; `journal` is null without a change."""
    return AppliedDocument(
        journal=journal,
        state=None if journal is None else "applied" if confirm_s else "confirmed",
        confirm_s=confirm_s,
        risk=plan.risk,
        changes=tuple(map(_shown, plan.changes)),
        refusals=plan.refusals,
        left_out=tuple(fix.fix for fix in left_out),
    )


def settled_table(journal: str, state: str, *, already: bool) -> str:
    """Return the state of a journal as one line."""
    return one_line(f"{journal} {'was already' if already else 'is'} {state}")


def settled_json(journal: str, state: str, *, already: bool) -> str:
    """Return the state of a journal as JSON in the schema `dirtune/settled/1`."""
    return _json(SettledDocument(journal=journal, state=state, already=already))


def verify_table(holding: Sequence[Held]) -> str:
    """Return one line per change: still in effect, or undone, and what may have undone it."""
    rows = (
        f"{'holds' if held.holds else 'UNDONE'}  {held.change.title}  ({held.journal})"
        + (f"  perhaps by {', '.join(held.by)}" if held.by else "")
        for held in holding
    )
    return (
        "\n".join(map(one_line, rows))
        or "nothing to verify: no change that dirtune made is in force"
    )


def verify_json(holding: Sequence[Held]) -> str:
    """Return the changes, and whether each is still in effect, as JSON (`dirtune/verify/1`)."""
    rows = (
        HeldChange(
            journal=e.journal,
            holds=e.holds,
            by=e.by,
            on_trial=e.on_trial,
            **_fields(e.change),
        )
        for e in holding
    )
    return _json(VerifyDocument(changes=tuple(rows)))


def _notes(change: Change) -> Iterator[str]:
    if change.competes:
        yield f"also set by: {', '.join(change.competes)}"
    keeper = persist.keeper(change.action)
    if keeper and not change.lasting:
        yield f"--persist keeps the change after a reboot: {keeper}"


def _next(journal: str | None, confirm_s: float, host: str | None) -> tuple[str, ...]:
    on = f" --host {shlex.quote(host)}" if host else ""
    if journal is None:
        return ("nothing to do",)
    if confirm_s:
        confirm = f"dirtune rolls back in {confirm_s:g} s unless you run: dirtune confirm{on}"
        return (f"journal {journal}", confirm)
    return (f"journal {journal}", f"roll back with: dirtune rollback{on} {shlex.quote(journal)}")


def _shown(change: Change) -> ShownChange:
    return ShownChange(**_fields(change))


def _fields(change: Change) -> dict[str, Any]:
    keeper = None if change.lasting else persist.keeper(change.action)
    own = {name: getattr(change, name) for name in change.__struct_fields__}
    return {**own, "commands": change.action.commands, "persisted_by": keeper}


def _json(document: msgspec.Struct) -> str:
    return msgspec.json.encode(document).decode()
