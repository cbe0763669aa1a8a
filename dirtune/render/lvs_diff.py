"""The changes that a plan makes to an IPVS table, as text, Markdown and JSON."""

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from dirtune.change.table import Changes
from dirtune.escape import markdown_block, one_line
from dirtune.lvs import ipvsadm
from dirtune.lvs.diff import Step, Verb
from dirtune.lvs.model import (
    Destination,
    DestinationKey,
    Service,
    ServiceKey,
    SyncDaemon,
    Table,
    Timeouts,
)
from dirtune.render import lvs

_Place = tuple[ServiceKey, DestinationKey | None] | None
_Before = dict[_Place, Service | Destination | Timeouts | None]
_SIGNS = {Verb.NEW: "+", Verb.SET: "~", Verb.DEL: "-"}


class ShownStep(msgspec.Struct, frozen=True):
    """One request to the kernel, and the ipvsadm(8) command that does the same."""

    verb: Verb
    name: str
    changed: dict[str, tuple[object, object]]
    """Field -> the value before and after an edit; empty for the other verbs."""
    command: str


class LvsPlanDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The steps from the current table to the planned one."""

    schema: Literal["dirtune/lvs-plan/1"] = "dirtune/lvs-plan/1"
    digest: str
    """The digest of the current table, for `apply --expect`."""
    steps: tuple[ShownStep, ...]
    modules: tuple[str, ...]
    changes: tuple[str, ...]


def table(changes: Changes, steps: Sequence[Step], actual: Table) -> str:
    """Return the current table compared with the plan: `+` is added, `~` edited, `-` removed."""
    if not changes.edits:
        return "nothing to do"
    lines = [*_modules(changes), *_diff_lines(steps, actual)]
    return "\n".join([*map(one_line, lines), "", f"digest of the current table: {actual.digest}"])


def markdown(changes: Changes, steps: Sequence[Step], actual: Table) -> str:
    """Return the same as a fenced diff."""
    if not changes.edits:
        return "nothing to do"
    lines = [line.replace("~", "!", 1) for line in _diff_lines(steps, actual)]
    fenced = markdown_block([*_modules(changes), *lines], "diff")
    return "\n".join([*fenced, "", f"digest of the current table: `{actual.digest}`"])


def document(changes: Changes, steps: Sequence[Step], actual: Table) -> str:
    """Return it under the schema dirtune/lvs-plan/1."""
    before = _by_place(actual)
    shown = LvsPlanDocument(
        digest=actual.digest,
        steps=tuple(
            ShownStep(step.verb, step.name, dict(_changed(step, before)), ipvsadm.command(step))
            for step in steps
        ),
        modules=changes.modules,
        changes=tuple(edit.title for edit in changes.edits),
    )
    return msgspec.json.encode(shown).decode()


def _modules(changes: Changes) -> tuple[str, ...]:
    return tuple(f"+ load module {name}" for name in changes.modules)


def _diff_lines(steps: Sequence[Step], actual: Table) -> Iterator[str]:
    shown = None
    before = _by_place(actual)
    for step in steps:
        if step.of is not None and step.of.key != shown:
            # A service that does not change itself still heads the changes to its real servers.
            yield f"  {step.of.name}"
            shown = step.of.key
        if isinstance(step.what, Service):
            shown = step.what.key
        yield f"{_SIGNS[step.verb]} {'  ' if step.of else ''}{_shown(step, before)}"


def _shown(step: Step, before: _Before) -> str:
    if step.verb is Verb.SET:
        changed = (f"{key} {old} -> {new}" for key, (old, new) in _changed(step, before))
        name = step.what.name if isinstance(step.what, Destination) else step.name
        return f"{name}  {', '.join(changed)}"
    match step.what:
        case Service() as service:
            return f"{service.name}  {lvs.setup(service)}"
        case Destination() as destination:
            return f"{destination.name}  {lvs.forwarding(destination)} weight {destination.weight}"
        case SyncDaemon() as daemon:
            return f"sync daemon {lvs.sync_daemon(daemon)}"
    return step.name


def _changed(step: Step, before: _Before) -> Iterator[tuple[str, tuple[object, object]]]:
    """Yield each field that an edit changes, with its values before and after."""
    if step.verb is not Verb.SET:
        return
    was = before[_place(step)]
    for field in step.what.__struct_fields__:
        old, new = getattr(was, field, None), getattr(step.what, field)
        if field != "destinations" and old != new:
            yield field, (old, new)


def _by_place(table: Table) -> _Before:
    places: _Before = {None: table.timeouts}
    for service in table.services:
        places[service.key, None] = service
        for destination in service.destinations:
            places[service.key, destination.key] = destination
    return places


def _place(step: Step) -> _Place:
    match step.what:
        case Service() as service:
            return (service.key, None)
        case Destination() as destination if step.of is not None:
            return (step.of.key, destination.key)
    return None
