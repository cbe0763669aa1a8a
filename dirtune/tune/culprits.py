"""Who on a host may have changed a setting back. Pure."""

from collections.abc import Iterator

from dirtune.checks.remedies import competitors
from dirtune.snapshot import Snapshot
from dirtune.tune.plan import (
    Action,
    AddAddress,
    Bind,
    PutFile,
    SetAffinity,
    SetCard,
    SetDefaultRoute,
    SetValue,
    SwitchOn,
    Unbind,
)

FIELDS = ("processes", "settings_files", "sysctls")
"""What of a snapshot tells."""
_SYS = "/proc/sys/"


def target(action: Action) -> tuple[str, ...]:
    """Return what *action* sets, to tell whether another sets the same; empty for none."""
    match action:
        case SetValue(path=path) | SetAffinity(path=path) | PutFile(path=path):
            return (path,)
        case SetCard(interface=interface, group=group, after=after):
            return (interface, group, *sorted(after))
        case Unbind(device=name) | Bind(device=name):
            return (name,)
        case AddAddress() | SwitchOn() | SetDefaultRoute():
            return (action.what,)
    return ()


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
    return ()


def _file(name: str, snapshot: Snapshot) -> Iterator[str]:
    """Yield the file of sysctl.d that has the value that is there now."""
    found = snapshot.settings_files.sysctls.get(name) if snapshot.settings_files else None
    live = snapshot.sysctls.text(name) if snapshot.sysctls else None
    if found and live is not None and found[0].split() == live.split():
        yield found[1]
