"""Find the recorded changes that are no longer in effect, and what may have undone them."""

from dataclasses import dataclass
from functools import cache

import msgspec

from dirtune.change import origin, transaction
from dirtune.change.origin import Origin
from dirtune.change.plan import Change
from dirtune.change.record import Entry
from dirtune.change.transaction import Place, is_elsewhere, standing
from dirtune.host import Host
from dirtune.snapshot import take

_TELLING = ("processes", "settings_files", "sysctls")
"""The snapshot fields that show which program or file may have changed a setting."""


@dataclass(frozen=True, slots=True)
class Holding:
    """A change, and whether it is still in effect."""

    journal: str
    change: Change
    holds: bool
    by: tuple[str, ...] = ()
    """Running programs and files that may have undone the change; empty if it is in effect."""
    on_trial: str = ""
    """The run of `dirtune tune` that tries the change; empty if no run does."""


def verify(at: Place, host: Host, checks: tuple[str, ...] = ()) -> tuple[Holding, ...]:
    """Check whether each change that dirtune made and did not undo is still in effect.

    If several journals changed a setting, only the last of these journals is checked. Journals of
    other network namespaces are left out; see `elsewhere`.
    """
    boot = transaction.boot_id(host)
    here = [entry for entry in standing(at) if not is_elsewhere(entry, host)]
    made = [
        (entry.planned, change, change.action.in_network and network_is_gone)
        for entry in here
        for network_is_gone in (origin.of(entry.planned, boot) is Origin.GONE,)
        for change in _made(entry, host)
    ]
    last = {
        thing: planned.journal
        for planned, change, gone in made
        for thing in change.action.targets
        if not gone
    }
    now = cache(lambda: take(host, _TELLING))
    return tuple(
        Holding(
            planned.journal,
            change,
            held,
            () if held or gone else change.action.suspects(now()),
            planned.on_trial or "",
        )
        for planned, change, gone in made
        if not checks or change.reason in checks
        if all(
            last.get(thing, planned.journal) == planned.journal for thing in change.action.targets
        )
        if (held := not gone and change.action.holds(host)) is not None
    )


def elsewhere(at: Place, host: Host, checks: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return a sentence for each journal that can only be checked in another network namespace."""
    return tuple(
        origin.elsewhere(entry.planned, transaction.boot_id(host))
        for entry in standing(at)
        if any(not checks or change.reason in checks for change in entry.made)
        if is_elsewhere(entry, host)
    )


def _made(entry: Entry, host: Host) -> tuple[Change, ...]:
    """Return the changes that were made, each once, with the present names of devices."""
    saved = {index: saved for index, (_, saved) in entry.begun}
    return tuple(
        msgspec.structs.replace(change, action=change.action.as_now(saved[index], host))
        for index, change in enumerate(entry.planned.changes)
        if index in saved
    )
