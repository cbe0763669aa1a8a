"""One change on a host: what was there, making it, seeing that it took, undoing it.

Undoing is safe to repeat, and accepts a host where the change was never made: after a crash
nobody knows. It puts back what was there, not what a default would be.
"""

import os
from typing import assert_never

import msgspec

from dirtune.collect.interrupts import read_interrupts
from dirtune.errors import ApplyError, SourceMissing
from dirtune.host import FileContents, Host, WritableHost
from dirtune.lvs import act
from dirtune.lvs.change import DrainIpvs, EditIpvs
from dirtune.tune.plan import DRIVERS, Action, Bind, PutFile, Run, SetValue, Unbind


class Saved(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was there before a change. Which field holds it depends on the action."""

    text: str | None = None
    """A kernel file as it read."""
    file: FileContents | None = None
    """A file to the byte; None also where there was none."""
    handlers: int | None = None
    """How many handlers of that name the interrupt line had."""


def save(action: Action, host: WritableHost) -> Saved:
    """Return what *action* will replace; `ApplyError` if it is not what the plan saw."""
    match action:
        case SetValue(path=path, before=before):
            text = host.read(path)
            _require(path, text.strip(), before)
            return Saved(text=text)
        case PutFile(path=path, before=before):
            _require(path, _text(host, path), before)
            return Saved(file=host.contents(path))
        case Unbind(device=device, driver=driver):
            _require_driver(host, device, driver)
            return Saved(handlers=_handlers(host, action))
        case Bind(device=device):
            _require_driver(host, device, None)
        case EditIpvs():
            # The journal has it already: it is the plan's own `before`.
            act.require_before(action, host)
    return Saved()


def make(action: Action, host: WritableHost) -> None:
    """Carry out *action*."""
    match action:
        case SetValue(path=path, after=after):
            host.write(path, after)
        case PutFile(path=path, after=after, mode=mode):
            host.replace(path, FileContents(after.encode(), mode, os.geteuid(), os.getegid()))
        case Unbind(device=device, driver=driver):
            host.write(f"{DRIVERS}/{driver}/unbind", device)
        case Bind(device=device, driver=driver):
            _bind(host, device, driver)
        case Run(make=argv):
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
    match action:
        case SetValue(path=path, after=after):
            _require(path, host.read(path).strip(), after)
        case PutFile(path=path, after=after):
            _require(path, _text(host, path), after)
        case Unbind(device=device):
            _require_driver(host, device, None)
            _require_one_less(action, saved.handlers, host)
        case Bind(device=device, driver=driver):
            _require_driver(host, device, driver)
        case EditIpvs():
            act.require_made(action, host)


def holds(action: Action, host: Host) -> bool | None:
    """Return whether the effect of *action* is there now; None where it cannot be told.

    Of IPVS it cannot: a later plan may have replaced it on purpose, and `lvs plan` tells more.
    """
    match action:
        case SetValue(path=path, after=after):
            return (_text(host, path) or "").strip() == after
        case PutFile(path=path, after=after):
            return _text(host, path) == after
        case Unbind(device=device):
            return _driver(host, device) is None
        case Bind(device=device, driver=driver):
            return _driver(host, device) == driver
    return None


def undo(action: Action, saved: Saved, host: WritableHost) -> None:
    """Put back what was there before *action*; `ApplyError` if it cannot be."""
    match action:
        case SetValue(path=path):
            _restore_value(host, path, saved.text or "")
        case PutFile(path=path):
            _restore_file(host, path, saved.file)
        case Unbind(device=device, driver=driver):
            if _driver(host, device) != driver:
                _bind(host, device, driver)
            _require_driver(host, device, driver)
        case Bind(device=device, driver=driver):
            if _driver(host, device) == driver:
                host.write(f"{DRIVERS}/{driver}/unbind", device)
            _require_driver(host, device, None)
        case Run(undo=()) | DrainIpvs():
            pass
        case Run(undo=argv):
            host.run(argv)
        case EditIpvs():
            act.undo(action, host)
        case _:
            assert_never(action)


def _restore_value(host: WritableHost, path: str, text: str) -> None:
    if host.read(path) != text:
        host.write(path, text)
        _require(path, host.read(path).strip(), text.strip())


def _restore_file(host: WritableHost, path: str, file: FileContents | None) -> None:
    if file is None:
        host.remove(path)
    else:
        host.replace(path, file)
    if host.contents(path) != file:
        raise ApplyError(f"{path}: is not what was put back; another program writes it")


def _bind(host: WritableHost, device: str, driver: str) -> None:
    folder = f"{DRIVERS}/{driver}"
    if not host.glob(folder):
        raise ApplyError(f"{device}: the driver {driver} is not loaded; modprobe it, then again")
    host.write(f"{folder}/bind", device)


def _driver(host: Host, device: str) -> str | None:
    try:
        return host.link(f"/sys/bus/pci/devices/{device}/driver").rpartition("/")[2]
    except SourceMissing:
        return None


def _require_driver(host: Host, device: str, driver: str | None) -> None:
    if not host.glob(f"/sys/bus/pci/devices/{device}"):
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
