"""The plan that changes a director's IPVS table. Pure."""

from dataclasses import dataclass

import msgspec

from dirtune.change.actions.drain_ipvs import DrainIpvs
from dirtune.change.actions.edit_ipvs import EditIpvs
from dirtune.change.actions.run import Run
from dirtune.change.plan import Change, Plan
from dirtune.lvs import diff
from dirtune.lvs.draining import Leaving
from dirtune.lvs.model import Table, Timeouts
from dirtune.settings import Risk

# The table after ip_vs was loaded (ip_vs_proto_tcp.c, ip_vs_proto_udp.c).
FRESH = Table((), Timeouts(900, 120, 300), ())
_REASON = _FIX = "lvs"


@dataclass(frozen=True, slots=True)
class Changes:
    """All changes to an IPVS table, in order."""

    modules: tuple[str, ...] = ()
    """The kernel modules to load before the table is changed."""
    edits: tuple[EditIpvs | DrainIpvs, ...] = ()


def plan(changes: Changes) -> Plan:
    """Return *changes* as a plan."""
    load = (_load(changes.modules),) if changes.modules else ()
    return Plan((*load, *(_change(action, action.title) for action in changes.edits)))


def edits(
    actual: Table, desired: Table, *, drain_s: float | None
) -> tuple[EditIpvs | DrainIpvs, ...]:
    """Return the changes that turn *actual* into *desired*; none if the tables are equal.

    With *drain_s*, real servers to be removed first get weight 0, and dirtune waits up to
    *drain_s* seconds for their active connections to end. With None, dirtune removes them
    immediately.
    """
    gone = leaving(actual, desired)
    if drain_s is None or not gone:
        return _edit(actual, desired)
    between = diff.quiesced(actual, desired)
    return (*_edit(actual, between), DrainIpvs(gone, drain_s), *_edit(between, desired))


def leaving(actual: Table, desired: Table) -> tuple[Leaving, ...]:
    """Return the destinations in *actual* that *desired* lacks, by service."""
    want = diff.by_key(desired.services)
    gone = []
    for service in actual.services:
        stays = want.get(service.key)
        if stays == service:
            continue
        staying = {server.key for server in stays.destinations} if stays else set()
        keys = tuple(server.key for server in service.destinations if server.key not in staying)
        if keys:
            gone.append(Leaving(msgspec.structs.replace(service, destinations=()), keys))
    return tuple(gone)


def _edit(before: Table, after: Table) -> tuple[EditIpvs, ...]:
    edit = EditIpvs(*diff.touched(before, after))
    return (edit,) if diff.diff(edit.before, edit.after) else ()


def _load(modules: tuple[str, ...]) -> Change:
    # Not modprobe -r, which also removes their dependencies, whoever loaded those. A module that
    # somebody else uses by then stays.
    gone = ("sh", "-c", 'rmmod "$@" 2>/dev/null || :', "sh", *reversed(modules))
    action = Run(("modprobe", "-a", *modules), gone)
    return _change(action, f"load {', '.join(modules)}")


def _change(action: EditIpvs | DrainIpvs | Run, title: str) -> Change:
    return Change(action, Risk.SAFE, _REASON, _FIX, title)
