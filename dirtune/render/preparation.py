"""What real servers are to be set to, what was done there, and who answers, as text and JSON."""

import shlex
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from dirtune.analyse.reach import Reach
from dirtune.change.plan import AddAddress, Change, Plan, Refusal, Run, commands
from dirtune.escape import markdown as escaped
from dirtune.escape import markdown_block, one_line
from dirtune.formats import from_json

_NOTHING = "nothing to do\n"


class Done(NamedTuple):
    """What was done on one real server."""

    journal: str | None
    """None where nothing was to be done."""
    titles: tuple[str, ...]


def row(change: Change) -> str:
    """Return a change as a row of a diff: `+` is added, `~` set, with the check that says why."""
    sign = "+" if isinstance(change.action, AddAddress | Run) else "~"
    return one_line(f"{sign} {change.title}  [{change.reason}]")


def rows(plan: Plan) -> tuple[str, ...]:
    """Return a row for each change."""
    return tuple(map(row, plan.changes))


def refusal_line(refusal: Refusal) -> str:
    """Return why something is not done, with what overrules that."""
    said = f"{refusal.subject} {refusal.why}"
    force = f"; or --force {shlex.quote(refusal.name)}" if refusal.name else ""
    return one_line(f"{said}{force}")


def before(text: str, settings: Plan, form: str) -> str:
    """Return what is to be done to a director's table, *text*, behind its own settings."""
    if form == "json":
        told = from_json(text, dict[str, object])
        own = _document(settings)["changes"]
        return f"{msgspec.json.encode({**told, 'settings': own}).decode()}\n"
    said = "\n".join(_diff(settings, form))
    if not said:
        return text
    return f"{said}\n" if text == _NOTHING else f"{said}\n{text}"


def beside(text: str, plans: Mapping[str, Plan], form: str) -> str:
    """Return what is to be done on the director, *text*, with what is on real servers."""
    if form == "json":
        if not plans:
            return text
        told = from_json(text, dict[str, object])
        servers = {name: _document(plan) for name, plan in plans.items()}
        return f"{msgspec.json.encode({**told, 'real_servers': servers}).decode()}\n"
    changed = {name: plan for name, plan in plans.items() if plan.changes}
    head = () if text == _NOTHING else (text.removesuffix("\n"), "")
    parts = (
        line
        for name, plan in changed.items()
        for line in (f"{escaped(name) if form == 'markdown' else name}:", *_diff(plan, form), "")
    )
    return "\n".join((*head, *parts)) if changed else text


def finished(text: str, done: Mapping[str, Done], reach: Reach | None, hold_s: float) -> str:
    """Return what was done on the director, *text*, with the real servers and who answers.

    *hold_s* is how long real servers wait to be confirmed; 0 where they are.
    """
    lines = [line for name, each in done.items() for line in _done(name, each, hold_s)]
    said = () if reach is None else (reached(reach),)
    return "\n".join((*lines, text, *said, ""))


def finished_json(text: str, done: Mapping[str, Done], reach: Reach | None, hold_s: float) -> str:
    """Return the same: the director's dirtune/applied/1, and beside it the others'."""
    if not done:
        return f"{text}\n"
    told = from_json(text, dict[str, object])
    state = "applied" if hold_s else "confirmed"
    servers = {
        name: {**each._asdict(), "state": state if each.journal else None}
        for name, each in done.items()
    }
    return f"{msgspec.json.encode({**told, 'real_servers': servers, 'reach': reach}).decode()}\n"


def _done(name: str, each: Done, hold_s: float) -> Iterator[str]:
    yield from (one_line(f"{name}: done: {title}") for title in each.titles)
    if each.journal and hold_s:
        yield f"{name}: taken back in at most {hold_s:g} s unless you run there: dirtune confirm"
    elif each.journal:
        back = shlex.join(("dirtune", "rollback", each.journal))
        yield one_line(f"{name}: take it back there with: {back}")


def reached(found: Reach) -> str:
    """Return which real servers answered through the virtual address."""
    rows = [f"  {name}  {why or 'answered'}" for name, why in found.servers.items()]
    rows += (
        f"  {name}  was given none of {found.requests} requests, or none that could be told "
        "from others' connections"
        for name in found.untold
    )
    if not found.requests:
        rows.append("  nobody was asked: no real server has a weight above 0")
    if found.past:
        rows.append(f"  {found.past} answers came past the director: who answers ARP for it?")
    if found.lost:
        rows.append(
            f"  {found.lost} of {found.requests} requests had no answer, and no real server is "
            "known to have got them: do they reach the director?"
        )
    return "\n".join(map(one_line, (f"through {found.service}:", *rows)))


def reach_json(found: Reach) -> str:
    """Return it under the schema dirtune/lvs-check/1."""
    return msgspec.json.encode(found).decode()


def _diff(plan: Plan, form: str) -> tuple[str, ...]:
    if form != "markdown" or not plan.changes:
        return rows(plan)
    return tuple(markdown_block((line.replace("~", "!", 1) for line in rows(plan)), "diff"))


def _document(plan: Plan) -> dict[str, object]:
    changes: Iterator[dict[str, object]] = (
        {"title": c.title, "check": c.reason, "risk": c.risk, "commands": commands(c.action)}
        for c in plan.changes
    )
    refused = tuple(map(refusal_line, plan.refusals))
    return {"changes": tuple(changes), "refusals": refused}
