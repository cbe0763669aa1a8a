"""Render the changes that a plan makes to an IPVS table, as text or Markdown."""

from collections.abc import Iterator, Sequence

from dirtune.change.table import Changes
from dirtune.escape import one_line
from dirtune.lvs.diff import Step, Verb
from dirtune.lvs.documents import Before, by_place, changed_fields
from dirtune.lvs.model import (
    Destination,
    Service,
    SyncDaemon,
    Table,
)
from dirtune.render import lvs
from dirtune.render.markdown import code_block

_SIGNS = {Verb.NEW: "+", Verb.SET: "~", Verb.DEL: "-"}


def table(changes: Changes, steps: Sequence[Step], actual: Table) -> str:
    """Return the planned changes to the IPVS table; `+` adds, `~` edits, `-` removes an entry."""
    if not steps:
        return "nothing to do"
    lines = [*_modules(changes), *_diff_lines(steps, actual)]
    return "\n".join([*map(one_line, lines), "", f"digest of the current table: {actual.digest}"])


def markdown(changes: Changes, steps: Sequence[Step], actual: Table) -> str:
    """Return the planned changes to the IPVS table as a fenced Markdown diff."""
    if not steps:
        return "nothing to do"
    lines = [line.replace("~", "!", 1) for line in _diff_lines(steps, actual)]
    fenced = code_block([*_modules(changes), *lines], "diff")
    return "\n".join([*fenced, "", f"digest of the current table: `{actual.digest}`"])


def _modules(changes: Changes) -> tuple[str, ...]:
    return tuple(f"+ load module {name}" for name in changes.modules)


def _diff_lines(steps: Sequence[Step], actual: Table) -> Iterator[str]:
    shown = None
    before = by_place(actual)
    for step in steps:
        if step.of is not None and step.of.key != shown:
            # An unchanged service is still printed above the changes to its real servers.
            yield f"  {step.of.name}"
            shown = step.of.key
        if isinstance(step.what, Service):
            shown = step.what.key
        yield f"{_SIGNS[step.verb]} {'  ' if step.of else ''}{_shown(step, before)}"


def _shown(step: Step, before: Before) -> str:
    if step.verb is Verb.SET:
        changed = (
            f"{key} {old} -> {new}" for key, (old, new) in changed_fields(step, before).items()
        )
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
