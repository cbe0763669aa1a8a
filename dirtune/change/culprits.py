"""Who on a host may have changed a setting back. Pure."""

from collections.abc import Iterator
from typing import assert_never

from dirtune.change.plan import (
    Action,
    AddAddress,
    Bind,
    PutFile,
    Run,
    SetAffinity,
    SetCard,
    SetDefaultRoute,
    SetValue,
    SwitchOn,
    Unbind,
)
from dirtune.checks.remedies import competitors
from dirtune.lvs.change import DrainIpvs, EditIpvs
from dirtune.lvs.model import Table
from dirtune.snapshot import Snapshot

FIELDS = ("processes", "settings_files", "sysctls")
"""What of a snapshot tells."""
_SYS = "/proc/sys/"


def targets(action: Action) -> frozenset[str]:
    """Return each thing that *action* sets, to tell whether another sets it too.

    Nothing for commands, of which nobody knows.
    """
    match action:
        case SetValue(path=path) | SetAffinity(path=path) | PutFile(path=path):
            return frozenset({path})
        case SetCard(interface=interface, group=group, after=after):
            return frozenset(f"{interface} {group} {name}" for name in after)
        case Unbind(device=name) | Bind(device=name):
            return frozenset({name})
        case AddAddress() | SwitchOn() | SetDefaultRoute():
            return frozenset({action.what})
        case EditIpvs(before=before, after=after):
            return _in_table(before) | _in_table(after)
        case Run() | DrainIpvs():
            return frozenset()
        case _:
            assert_never(action)


def _in_table(table: Table) -> frozenset[str]:
    daemons = (f"sync daemon {daemon.state}" for daemon in table.daemons or ())
    timeouts = () if table.timeouts is None else ("timeouts",)
    names = (*(service.name for service in table.services), *daemons, *timeouts)
    return frozenset(f"IPVS {name}" for name in names)


def suspects(action: Action, snapshot: Snapshot) -> tuple[str, ...]:
    """Return the programs that run and the files that set what *action* set, otherwise."""
    match action:
        case SetAffinity():
            return competitors(snapshot, "irq")
        case SetCard() | AddAddress() | SwitchOn() | SetDefaultRoute():
            return competitors(snapshot, "nic")
        case SetValue(path=path) if path.startswith(_SYS):
            name = path.removeprefix(_SYS)
            kind = "ipvs" if name.startswith("net/ipv4/vs/") else "sysctl"
            writers = (*competitors(snapshot, kind), *competitors(snapshot, "sysctl"))
            return tuple(dict.fromkeys((*_file(name, snapshot), *writers)))
        case SetValue(path=path):
            return competitors(snapshot, "cpu" if "/cpu/" in path else "nic")
        case PutFile() | Unbind() | Bind() | Run() | EditIpvs() | DrainIpvs():
            return ()
        case _:
            assert_never(action)


def _file(name: str, snapshot: Snapshot) -> Iterator[str]:
    """Yield the file of sysctl.d that has the value that is there now."""
    found = snapshot.settings_files.sysctls.get(name) if snapshot.settings_files else None
    live = snapshot.sysctls.text(name) if snapshot.sysctls else None
    if found and live is not None and found[0].split() == live.split():
        yield found[1]
