"""Files that make changes again after a boot, in the form that each kind of setting has for it.

sysctl.d(5) for settings below /proc/sys, and modules-load.d(5) where a module must be there first;
udev(7) for cards, their queues and PCI functions, which come when they are found; a unit that
runs a script for the rest. What is there already stays, but for rows of the same setting. Pure.

The names of a machine are data here too: one that a format has a meaning for, and no way to quote,
is refused.
"""

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import assert_never

from dirtune.change.plan import (
    Action,
    AddAddress,
    Bind,
    Change,
    Plan,
    PutFile,
    Refusal,
    Run,
    SetAffinity,
    SetCard,
    SetDefaultRoute,
    SetValue,
    SwitchOn,
    Unbind,
    lines_of,
)
from dirtune.collect.sysctls import dotted
from dirtune.lvs.change import DrainIpvs, EditIpvs
from dirtune.settings import Risk, ethtool_command, plain

SYSCTL = "/etc/sysctl.d/90-dirtune.conf"
MODULES = "/etc/modules-load.d/dirtune.conf"
UDEV = "/etc/udev/rules.d/90-dirtune.rules"
SCRIPT = "/etc/dirtune/boot.sh"
UNIT = "/etc/systemd/system/dirtune-boot.service"
FILES = (SYSCTL, MODULES, UDEV, SCRIPT, UNIT)
# udev has no PATH: it takes a program without a folder for one of its own.
_SBIN = "/sbin/"
_SYS = "/proc/sys/"
_NET = "/sys/class/net/"
_NEEDS = {"net/ipv4/vs/": "ip_vs", "net/netfilter/": "nf_conntrack"}
_UNIT_TEXT = f"""[Unit]
Description=Settings that dirtune keeps over a reboot
After=network-online.target irqbalance.service
Wants=network-online.target

[Service]
Type=oneshot
ExecStart=/bin/sh {SCRIPT}

[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of a file: the value stands between what tells it from other rows."""

    path: str
    before: str
    value: str
    after: str = ""

    @property
    def text(self) -> str:
        return f"{self.before}{self.value}{self.after}"

    def replaces(self, row: str) -> bool:
        alike = row.startswith(self.before) and row.endswith(self.after)
        return alike if self.value else row == self.text


def lasting(plan: Plan, texts: Mapping[str, str]) -> Plan:
    """Return *plan* and, behind it, what makes its changes again after a boot.

    *texts* are the files of `FILES` that are there. What outlives a boot by itself is not made
    twice, and what cannot be written down is refused.
    """
    runtime = [change for change in plan.changes if not change.lasting]
    refusals = tuple(
        _refusal(change) for change in runtime if _unwritable(change.action) is not None
    )
    rows = [(change, row) for change in runtime for row in _rows(change.action)]
    added: list[Change] = []
    for path in FILES[:-1]:
        mine = [(change, row) for change, row in rows if row.path == path]
        if mine:
            added += _file(mine[0][0], path, texts.get(path), [row for _, row in mine])
            added += _unit(mine[0][0], texts.get(UNIT)) if path == SCRIPT else ()
    return Plan((*plan.changes, *added), (*plan.refusals, *refusals))


def keeper(action: Action) -> str | None:
    """Return the file that makes *action* again after a boot; None if it needs none."""
    return next((row.path for row in _rows(action)), None)


def _refusal(change: Change) -> Refusal:
    name, file = _unwritable(change.action) or "", next(_all_rows(change.action)).path
    why = f"is not kept over a reboot: {file} cannot hold a name like that; keep it by hand"
    return Refusal(change.reason, change.fix, name, why)


def _unwritable(action: Action) -> str | None:
    """Return the name in *action* that the file which would keep it cannot hold, if one is."""
    fits: Callable[[str], bool] = plain
    match action:
        case SetValue(path=path) if path.startswith((_SYS, _NET)):
            names = path.split("/")[1:]
        case SetValue(path=path):
            names, fits = [path], str.isprintable
        case SetAffinity(action=name):
            names, fits = [name], _names_a_folder
        case SetCard(interface=interface, after=values):
            names = [interface, *values]
        case Unbind(device=device):
            names = [device]
        case Bind(device=device, driver=driver):
            names = [device, driver]
        case (
            PutFile()
            | AddAddress()
            | SwitchOn()
            | SetDefaultRoute()
            | Run()
            | EditIpvs()
            | DrainIpvs()
        ):
            return None
        case _:
            assert_never(action)
    return next((name for name in names if not fits(name)), None)


def _names_a_folder(name: str) -> bool:
    return name.isprintable() and "/" not in name and name not in {"", ".", ".."}


def _file(change: Change, path: str, before: str | None, rows: list[_Row]) -> Iterator[Change]:
    after = _merged(before or "", rows)
    if after != before:
        yield _change(change, PutFile(path, before, after), f"keep it over a reboot by {path}")


def _unit(change: Change, before: str | None) -> Iterator[Change]:
    if before == _UNIT_TEXT:
        return
    yield _change(change, PutFile(UNIT, before, _UNIT_TEXT), f"run {SCRIPT} at boot")
    name = UNIT.rpartition("/")[2]
    if before is None:
        action = Run(("systemctl", "enable", name), ("systemctl", "disable", name))
        yield _change(change, action, f"enable {name}")


def _change(of: Change, action: PutFile | Run, title: str) -> Change:
    return Change(action, Risk.SAFE, of.reason, of.fix, title, lasting=True)


def _merged(text: str, rows: Iterable[_Row]) -> str:
    lines = lines_of(text)
    for row in rows:
        lines = [line for line in lines if not row.replaces(line)] + [row.text]
    return "\n".join((*lines, ""))


def _rows(action: Action) -> Iterator[_Row]:
    return _all_rows(action) if _unwritable(action) is None else iter(())


def _all_rows(action: Action) -> Iterator[_Row]:
    match action:
        case SetValue(path=path, after=after) if path.startswith(_SYS):
            yield from _sysctl(path.removeprefix(_SYS), after)
        case SetValue(path=path, after=after) if path.startswith(_NET):
            interface, _, attribute = path.removeprefix(_NET).partition("/")
            yield _Row(UDEV, f'{_rule("net", interface)}, ATTR{{{attribute}}}="', after, '"')
        case SetValue(path=path, after=after):
            yield _Row(SCRIPT, "echo ", shlex.quote(after), f" > {shlex.quote(path)}")
        case SetAffinity(action=name, after=after):
            # The number may be another after a boot; the name is not. It is that of a folder: a
            # handler may be called as a file is that every interrupt has.
            loop = f"for irq in /proc/irq/[0-9]*/{shlex.quote(name)}/; do echo "
            yield _Row(SCRIPT, loop, after, ' > "${irq%/*/}/smp_affinity_list"; done')
        case SetCard(interface=interface, group=group, after=values):
            for name, value in values.items():
                command, _, word = ethtool_command(interface, group, {name: value}).rpartition(" ")
                yield _Row(UDEV, f'{_rule("net", interface)}, RUN+="{_SBIN}{command} ', word, '"')
        case Unbind(device=device):
            yield _Row(UDEV, f'{_rule("pci", device)}, ATTR{{driver_override}}="', "none", '"')
        case Bind(device=device, driver=driver):
            yield _Row(UDEV, f'{_rule("pci", device)}, ATTR{{driver_override}}="', driver, '"')
        # A file is kept by itself, and what makes the others again is not dirtune's: networkd,
        # ifupdown, keepalived, ipvsadm's service.
        case (
            PutFile()
            | AddAddress()
            | SwitchOn()
            | SetDefaultRoute()
            | Run()
            | EditIpvs()
            | DrainIpvs()
        ):
            pass
        case _:
            assert_never(action)


def _sysctl(name: str, value: str) -> Iterator[_Row]:
    yield _Row(SYSCTL, f"{dotted(name)} = ", value)
    for begin, module in _NEEDS.items():
        if name.startswith(begin):
            yield _Row(MODULES, module, "")


def _rule(subsystem: str, kernel: str) -> str:
    # An interface gets its name after it was added, which is another event.
    action = "add|move" if subsystem == "net" else "add"
    return f'ACTION=="{action}", SUBSYSTEM=="{subsystem}", KERNEL=="{kernel}"'
