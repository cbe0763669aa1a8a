"""One change on a host: what was there, making it, seeing that it took, undoing it.

Undoing is safe to repeat, and accepts a host where the change was never made: after a crash
nobody knows. It puts back what was there, not what a default would be.
"""

import os
from collections.abc import Iterable
from typing import assert_never

import msgspec

from dirtune.change import card, ip
from dirtune.change.plan import (
    DRIVERS,
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
from dirtune.collect.interrupts import SOURCE as INTERRUPTS
from dirtune.collect.interrupts import parse_interrupts, read_interrupts
from dirtune.cpu_sets import format_cpulist, parse_cpulist
from dirtune.errors import ApplyError, ParseError, SourceMissing, SourceRefused
from dirtune.host import FileContents, Host, WritableHost, literal, recorded_text
from dirtune.lvs import act
from dirtune.lvs.change import DrainIpvs, EditIpvs


class Saved(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was there before a change. Which field holds it depends on the action."""

    text: str | None = None
    """A kernel file as it read."""
    file: FileContents | None = None
    """A file to the byte; None also where there was none."""
    folder: str | None = None
    """The folder that had to be made for it; None where it was there."""
    values: dict[str, int] | None = None
    """How a network card was set."""
    handlers: int | None = None
    """How many handlers of that name the interrupt line had."""


def save(action: Action, host: WritableHost) -> Saved:
    """Return what *action* will replace; `ApplyError` if it is not what the plan saw."""
    match action:
        case SetValue(path=path, before=before) | SetAffinity(path=path, before=before):
            text = host.read(path)
            _require(path, text.strip(), before)
            if not _still_there(action, host):
                raise ApplyError(
                    f"{path}: could not be told from another line's: its handler went"
                )
            return Saved(text=text)
        case SetCard(before=before):
            _require_card(action, before, host)
            return Saved(values=before)
        case PutFile(path=path, before=before):
            _require(path, _text(host, path), before)
            folder = _folder(path)
            missing = None if host.glob(literal(folder)) else folder
            return Saved(file=host.contents(path), folder=missing)
        case Unbind(device=device, driver=driver):
            _require_driver(host, device, driver)
            return Saved(handlers=_handlers(host, action))
        case Bind(device=device):
            _require_driver(host, device, None)
        case AddAddress() | SwitchOn() | SetDefaultRoute():
            ip.require_before(action, host)
        case EditIpvs():
            # The journal has it already: it is the plan's own `before`.
            act.require_before(action, host)
        case Run() | DrainIpvs():
            pass
        case _:
            assert_never(action)
    return Saved()


def make(action: Action, host: WritableHost) -> None:
    """Carry out *action*."""
    match action:
        case SetValue(path=path, after=after) | SetAffinity(path=path, after=after):
            host.write(path, after)
        case SetCard(interface=interface, group=group, after=after):
            card.write(host, interface, group, after)
        case PutFile():
            _put_file(action, host)
        case Unbind(device=device, driver=driver):
            host.write(f"{DRIVERS}/{driver}/unbind", device)
        case Bind(device=device, driver=driver):
            _bind(host, device, driver)
        case (
            AddAddress(argv=argv)
            | SwitchOn(argv=argv)
            | SetDefaultRoute(argv=argv)
            | Run(make=argv)
        ):
            if argv:
                host.run(argv)
        case EditIpvs():
            act.make(action, host)
        case DrainIpvs():
            act.drain(action, host)
        case _:
            assert_never(action)


def require_made(action: Action, saved: Saved, host: WritableHost) -> None:
    """Raise `ApplyError` unless the effect of *action* can be read back."""
    if isinstance(action, EditIpvs):
        act.require_made(action, host)
    else:
        _require_there(action, saved, host)


def _require_there(action: Action, saved: Saved, host: Host) -> bool:
    """Raise `ApplyError` unless the effect of *action* is there; tell whether that can be told.

    Of IPVS it cannot: a later plan may have replaced it on purpose, and `lvs plan` tells more.
    """
    match action:
        case SetValue(path=path, after=after):
            _require(path, host.read(path).strip(), after)
        case SetAffinity(path=path, after=after):
            _require(path, host.read(path).strip(), after)
            _require_effective(action, host)
        case SetCard(after=after):
            _require_card(action, after, host)
        case PutFile(path=path, after=after):
            _require(path, _text(host, path), after)
        case Unbind(device=device):
            _require_driver(host, device, None)
            _require_one_less(action, saved.handlers, host)
        case Bind(device=device, driver=driver):
            _require_driver(host, device, driver)
        case AddAddress() | SwitchOn() | SetDefaultRoute():
            ip.require_made(action, host)
        case Run() | EditIpvs() | DrainIpvs():
            return False
        case _:
            assert_never(action)
    return True


def holds(action: Action, host: Host) -> bool | None:
    """Return whether the effect of *action* is there now; None where it cannot be told."""
    try:
        return _require_there(action, Saved(), host) or None
    except (ApplyError, SourceMissing, SourceRefused):
        return False


def undo(action: Action, saved: Saved, host: WritableHost) -> None:
    """Put back what was there before *action*; `ApplyError` if it cannot be."""
    match action:
        case SetValue() | SetAffinity():
            _restore_value(action, saved.text or "", host)
        case SetCard():
            _restore_card(action, saved.values or {}, host)
        case PutFile(path=path):
            _restore_file(host, path, saved.file)
            _remove_if_empty(host, saved.folder)
        case Unbind(device=device, driver=driver):
            _give_back(host, device, driver)
        case Bind(device=device, driver=driver):
            _take_away(host, device, driver)
        case AddAddress() | SwitchOn() | SetDefaultRoute():
            ip.undo(action, host)
        case Run(undo=()) | DrainIpvs():
            pass
        case Run(undo=argv):
            host.run(argv)
        case EditIpvs():
            act.undo(action, host)
        case _:
            assert_never(action)


def _still_there(action: SetValue | SetAffinity | SetCard, host: Host) -> bool:
    """Whether there is anything to put back: modules go, and a boot gives other numbers."""
    match action:
        case SetCard(interface=interface):
            path = f"/sys/class/net/{interface}"
        case SetAffinity(irq=irq, action=name) if name:
            return _has_handler(host, irq, name)
        case SetValue(path=path) | SetAffinity(path=path):
            pass
        case _:
            assert_never(action)
    return bool(host.glob(literal(path)))


def _has_handler(host: Host, irq: str, name: str) -> bool:
    # No folder is made for a name with a slash, nor another one where an interface is renamed
    # while it is up; and a name of which text holds an escape is in the table alone.
    if host.glob(literal(f"/proc/irq/{irq}/{name}")):
        return True
    try:
        line = parse_interrupts(recorded_text(host.read(INTERRUPTS))).line(irq)
    except (SourceMissing, ParseError):
        return False
    return line is not None and name in line.actions


def _restore_value(action: SetValue | SetAffinity, text: str, host: WritableHost) -> None:
    if _still_there(action, host) and host.read(action.path) != text:
        host.write(action.path, text)
        _require(action.path, host.read(action.path).strip(), text.strip())


def _restore_card(action: SetCard, values: dict[str, int], host: WritableHost) -> None:
    if not _still_there(action, host):
        return
    if _card(host, action.interface, action.group, values) != values:
        card.write(host, action.interface, action.group, values)
        _require_card(action, values, host)


def _restore_file(host: WritableHost, path: str, file: FileContents | None) -> None:
    if file is None:
        host.remove(path)
    else:
        host.replace(path, file)
    if host.contents(path) != file:
        raise ApplyError(f"{path}: is not what was put back; another program writes it")


def _put_file(action: PutFile, host: WritableHost) -> None:
    if not host.glob(literal(_folder(action.path))):
        host.make_folder(_folder(action.path))
    host.replace(action.path, _contents(action, host.contents(action.path)))


def _contents(action: PutFile, before: FileContents | None) -> FileContents:
    """Return what to put in a file; it keeps its owner, and nobody may do more with it."""
    text = action.after.encode()
    if before is None:
        return FileContents(text, action.mode, os.geteuid(), os.getegid())
    # Who could read it may run it as well, where it is a program now.
    allowed = before.mode | (before.mode & 0o444) >> 2
    return FileContents(text, action.mode & allowed, before.uid, before.gid)


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _remove_if_empty(host: WritableHost, folder: str | None) -> None:
    """Remove a folder of ours; what somebody else put there since stays, and so does it."""
    if folder is None:
        return
    here = literal(folder)
    if host.glob(here) and not host.glob(f"{here}/*"):
        host.remove_folder(folder)


def _card(host: Host, interface: str, group: str, names: Iterable[str]) -> dict[str, int]:
    found = card.read(host, interface, group)
    return {name: found[name] for name in names if name in found}


def _require_card(action: SetCard, values: dict[str, int], host: Host) -> None:
    found = _card(host, action.interface, action.group, values)
    for name, value in values.items():
        _require(f"{action.interface} {name}", str(found.get(name)), str(value))


def _require_effective(action: SetAffinity, host: Host) -> None:
    strayed = _strayed(action, host)
    if strayed:
        raise ApplyError(f"irq {action.irq}: goes to CPU {strayed}, not to {action.after}")


def _strayed(action: SetAffinity, host: Host) -> str:
    """Return the CPUs that the interrupt goes to though it may not; empty for none.

    An idle line goes nowhere, and an old kernel does not say. A line that cannot be moved while
    it is served moves with its next interrupt, and says where it will go at once.
    """
    text = _text(host, f"/proc/irq/{action.irq}/effective_affinity_list") or ""
    return format_cpulist({*parse_cpulist(text)} - {*parse_cpulist(action.after)})


def _give_back(host: WritableHost, device: str, driver: str) -> None:
    if _driver(host, device) != driver:
        _bind(host, device, driver)
    _require_driver(host, device, driver)


def _take_away(host: WritableHost, device: str, driver: str) -> None:
    if _driver(host, device) == driver:
        host.write(f"{DRIVERS}/{driver}/unbind", device)
    _require_driver(host, device, None)


def _bind(host: WritableHost, device: str, driver: str) -> None:
    folder = f"{DRIVERS}/{driver}"
    if not host.glob(literal(folder)):
        raise ApplyError(f"{device}: the driver {driver} is not loaded; modprobe it, then again")
    host.write(f"{folder}/bind", device)


def _driver(host: Host, device: str) -> str | None:
    try:
        return host.link(f"/sys/bus/pci/devices/{device}/driver").rpartition("/")[2]
    except SourceMissing:
        return None


def _require_driver(host: Host, device: str, driver: str | None) -> None:
    if not host.glob(literal(f"/sys/bus/pci/devices/{device}")):
        raise ApplyError(f"{device}: no such PCI device any more")
    _require(f"driver of {device}", _driver(host, device), driver)


def _handlers(host: Host, action: Unbind) -> int | None:
    if action.irq is None or action.handler is None:
        return None
    line = read_interrupts(host).line(action.irq)
    return 0 if line is None else line.actions.count(action.handler)


def _require_one_less(action: Unbind, before: int | None, host: Host) -> None:
    now = _handlers(host, action)
    if before is not None and now is not None and now >= before:
        said = f"irq {action.irq} has {now} handlers {action.handler}, as before"
        raise ApplyError(f"{action.device}: unbound, and yet {said}")


def _text(host: Host, path: str) -> str | None:
    try:
        return host.read(path)
    except SourceMissing:
        return None


def _require(name: str, actual: str | None, expected: str | None) -> None:
    if actual != expected:
        raise ApplyError(f"{name}: is {_shown(actual)}, expected {_shown(expected)}")


def _shown(value: str | None) -> str:
    if value is None:
        return "not there"
    return repr(value if len(value) <= 60 else f"{value[:57]}...")
