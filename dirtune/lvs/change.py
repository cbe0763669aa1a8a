"""What applying a table does, as data that a journal can hold. Pure.

Whole services, before and after: what lies between is worked out when it is done and, from
wherever it was left, when it is undone.
"""

import msgspec

from dirtune.lvs import diff, ipvsadm
from dirtune.lvs.model import DestinationKey, Service, Table


class EditIpvs(msgspec.Struct, frozen=True, tag="ipvs"):
    """Turn some services, or what else the tables speak of, from *before* into *after*."""

    before: Table
    """As seen when the plan was made."""
    after: Table


class Leaving(msgspec.Struct, frozen=True):
    """Destinations that go from one service."""

    service: Service
    """Without destinations."""
    destinations: tuple[DestinationKey, ...]


class DrainIpvs(msgspec.Struct, frozen=True, tag="ipvs-drain"):
    """Wait until what leaves has no active connection."""

    leaving: tuple[Leaving, ...]
    wait_s: float


def changes(
    actual: Table, desired: Table, *, drain_s: float | None
) -> tuple[EditIpvs | DrainIpvs, ...]:
    """Return what turns *actual* into *desired*; nothing if they are equal.

    With *drain_s* what is to go takes nothing new at first, and up to that many seconds are
    waited for its active connections to end. None removes it at once.
    """
    gone = leaving(actual, desired)
    if drain_s is None or not gone:
        return _edit(actual, desired)
    between = diff.quiesced(actual, desired)
    return (*_edit(actual, between), DrainIpvs(gone, drain_s), *_edit(between, desired))


def leaving(actual: Table, desired: Table) -> tuple[Leaving, ...]:
    """Return the destinations of *actual* that *desired* does not have, by service."""
    want = diff.by_key(desired.services)
    found = []
    for service in actual.services:
        stays = want.get(service.key)
        wanted = {each.key for each in stays.destinations} if stays else set()
        keys = tuple(each.key for each in service.destinations if each.key not in wanted)
        if keys:
            found.append(Leaving(msgspec.structs.replace(service, destinations=()), keys))
    return tuple(found)


def commands(change: EditIpvs | DrainIpvs) -> tuple[str, ...]:
    """Return the shell commands that do the same."""
    match change:
        case EditIpvs(before, after):
            return tuple(map(ipvsadm.command, diff.diff(before, after)))
        case DrainIpvs(leaving, wait_s):
            number = sum(len(each.destinations) for each in leaving)
            return (f"# wait up to {wait_s:g} s until {number} of them have no active connection",)


def _edit(before: Table, after: Table) -> tuple[EditIpvs, ...]:
    edit = EditIpvs(*diff.touched(before, after))
    return (edit,) if diff.diff(edit.before, edit.after) else ()
