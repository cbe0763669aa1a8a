"""What applying a table does, as data that a journal can hold. Pure.

Whole services, before and after: what lies between is worked out when it is done and, from
wherever it was left, when it is undone.
"""

from collections import Counter
from dataclasses import dataclass
from typing import assert_never

import msgspec

from dirtune.lvs import diff, ipvsadm
from dirtune.lvs.diff import Step, Verb
from dirtune.lvs.model import DestinationKey, Service, Table, Timeouts

# Of a kernel that has just loaded ip_vs (ip_vs_proto_tcp.c, ip_vs_proto_udp.c).
FRESH = Table((), Timeouts(900, 120, 300), ())
_DONE = {Verb.NEW: "added", Verb.SET: "edited", Verb.DEL: "removed"}


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


@dataclass(frozen=True, slots=True)
class Changes:
    """All that is to be done, in its order; empty if there is nothing."""

    modules: tuple[str, ...] = ()
    """Modules of the kernel that are loaded first."""
    edits: tuple[EditIpvs | DrainIpvs, ...] = ()


def edits(
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
        if stays == service:
            continue
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
        case _:
            assert_never(change)


def title(action: EditIpvs | DrainIpvs) -> str:
    """Return what *action* does, in a few words."""
    match action:
        case EditIpvs(before, after):
            return f"IPVS: {counted(diff.diff(before, after))}"
        case DrainIpvs(leaving, wait_s):
            number = sum(len(each.destinations) for each in leaving)
            return f"wait up to {wait_s:g} s for the connections of {_many(number, 'real server')}"
        case _:
            assert_never(action)


def counted(steps: tuple[Step, ...]) -> str:
    """Return how many of what *steps* add, edit and remove."""
    numbers = Counter((step.verb, _kind(step)) for step in steps)
    said = (
        f"{_many(numbers[verb, kind], kind)} {_DONE[verb]}"
        for verb in Verb
        for kind in ("service", "real server", "timeout", "sync daemon")
        if numbers[verb, kind]
    )
    return ", ".join(said) or "nothing to do"


def _kind(step: Step) -> str:
    if step.of is not None:
        return "real server"
    if isinstance(step.what, Service):
        return "service"
    return "timeout" if isinstance(step.what, Timeouts) else "sync daemon"


def _many(number: int, kind: str) -> str:
    return f"{number} {kind}{'' if number == 1 else 's'}"


def _edit(before: Table, after: Table) -> tuple[EditIpvs, ...]:
    edit = EditIpvs(*diff.touched(before, after))
    return (edit,) if diff.diff(edit.before, edit.after) else ()
