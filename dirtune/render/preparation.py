"""Render the changes to real servers, planned or made, and which real servers answer."""

import shlex
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from dirtune.analyse.reach import Reach
from dirtune.analyse.words import counted
from dirtune.change.documents import AppliedDocument
from dirtune.change.plan import Change, Plan, Refusal
from dirtune.change.preparation import Done, needed
from dirtune.escape import one_line
from dirtune.lvs.documents import DirectorPlanDocument, NeededSetting
from dirtune.render.markdown import code_block, escaped

_NOTHING = "nothing to do\n"


def row(change: Change) -> str:
    """Return a change as a row of a diff (`+` adds, `~` sets), with the check that asks for it."""
    return row_of(change.title, change.reason, "+" if change.action.adds else "~")


def row_of(title: str, check: str, sign: str = "~") -> str:
    """Return a row of a diff from the title of a change and the check that asks for it."""
    return one_line(f"{sign} {title}  [{check}]")


def rows(plan: Plan) -> tuple[str, ...]:
    """Return a row of a diff for each change of *plan*."""
    return tuple(map(row, plan.changes))


def refusal_line(refusal: Refusal) -> str:
    """Return why a change is refused, and the option that makes dirtune apply it anyway."""
    return one_line(refusal.why_not)


def setting_rows(settings: Sequence[NeededSetting]) -> tuple[str, ...]:
    """Return a row of a diff for each change to a director's *settings*."""
    return tuple(row_of(setting.title, setting.check) for setting in settings)


def above(text: str, rows: Sequence[str], form: str) -> str:
    """Return *rows*, then *text*.

    *rows* are the changes to a director's settings, and *text* holds those to its IPVS table.
    """
    if not rows:
        return text
    changes = "\n".join(_fenced(rows) if form == "markdown" else rows)
    return f"{changes}\n" if text == _NOTHING else f"{changes}\n{text}"


def document(director: DirectorPlanDocument, plans: Mapping[str, Plan]) -> str:
    """Return JSON with the changes to the director, and the *plans* of its real servers."""
    if not plans:
        return f"{msgspec.json.encode(director).decode()}\n"
    servers = {name: _document(plan) for name, plan in plans.items()}
    whole = {**msgspec.structs.asdict(director), "real_servers": servers}
    return f"{msgspec.json.encode(whole).decode()}\n"


def beside(text: str, plans: Mapping[str, Plan], form: str) -> str:
    """Return *text*, the changes to the director, then the *plans* of the real servers."""
    changed = {name: plan for name, plan in plans.items() if plan.changes}
    head = () if text == _NOTHING else (text.removesuffix("\n"), "")
    parts = (
        line
        for name, plan in changed.items()
        for line in (f"{escaped(name) if form == 'markdown' else name}:", *_diff(plan, form), "")
    )
    return "\n".join((*head, *parts)) if changed else text


def finished(text: str, done: Mapping[str, Done], reach: Reach | None, hold_s: float) -> str:
    """Return the changes made on real servers, then *text*, then which real servers answered.

    *text* holds the changes made on the director. The real servers wait *hold_s* seconds for a
    confirmation; 0 means that they do not wait.
    """
    lines = [line for name, server in done.items() for line in _done(name, server, hold_s)]
    answers = () if reach is None else (reached(reach),)
    return "\n".join((*lines, text, *answers, ""))


def finished_json(
    director: AppliedDocument, done: Mapping[str, Done], reach: Reach | None, hold_s: float
) -> str:
    """Return the director's JSON (`dirtune/applied/1`) with the results of real servers added."""
    if not done:
        return f"{msgspec.json.encode(director).decode()}\n"
    state = "applied" if hold_s else "confirmed"
    servers = {
        name: {**server._asdict(), "state": state if server.journal else None}
        for name, server in done.items()
    }
    whole = {**msgspec.structs.asdict(director), "real_servers": servers, "reach": reach}
    return f"{msgspec.json.encode(whole).decode()}\n"


def _done(name: str, server: Done, hold_s: float) -> Iterator[str]:
    yield from (one_line(f"{name}: done: {title}") for title in server.titles)
    if server.journal and hold_s:
        yield (
            f"{name}: dirtune rolls back within {hold_s:g} s unless you run on {name}: "
            "dirtune confirm"
        )
    elif server.journal:
        back = shlex.join(("dirtune", "rollback", server.journal))
        yield one_line(f"{name}: roll back on {name} with: {back}")


def reached(reach: Reach) -> str:
    """Return which real servers answered through the virtual address, as text."""
    rows = [f"  {name}  {why or 'answered'}" for name, why in reach.servers.items()]
    rows += (
        f"  {name}  unknown: none of {reach.requests} requests is known to have reached this "
        "real server"
        for name in reach.untold
    )
    if not reach.requests:
        rows.append("  no request was sent, because no real server has a weight above 0")
    if reach.past:
        rows.append(
            f"  {counted(reach.past, 'answer')} bypassed the director: check which host "
            "answers ARP for the VIP"
        )
    if reach.lost:
        rows.append(
            f"  {reach.lost} of {reach.requests} requests got no answer and are not known to have "
            "reached a real server: check that requests reach the director"
        )
    return "\n".join(map(one_line, (f"requests through {reach.service}:", *rows)))


def reach_json(reach: Reach) -> str:
    """Return which real servers answered as JSON in the schema `dirtune/lvs-check/1`."""
    return msgspec.json.encode(reach).decode()


def _diff(plan: Plan, form: str) -> tuple[str, ...]:
    return _fenced(rows(plan)) if form == "markdown" and plan.changes else rows(plan)


def _fenced(rows: Sequence[str]) -> tuple[str, ...]:
    return tuple(code_block((line.replace("~", "!", 1) for line in rows), "diff"))


def _document(plan: Plan) -> dict[str, object]:
    return {"changes": needed(plan), "refusals": tuple(map(refusal_line, plan.refusals))}
