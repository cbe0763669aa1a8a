"""Decide what to change on a host, as data. Nothing here touches one.

A plan is a sequence of changes. Each is one action, with the risk it carries and the check that
asked for it; each can be taken back. Order matters in both directions: changes are made first to
last and undone last to first.
"""

import shlex
from collections.abc import Iterator
from typing import assert_never

import msgspec

from dirtune.lvs import change as ipvs
from dirtune.lvs.change import DrainIpvs, EditIpvs
from dirtune.settings import Risk, as_escapes, ethtool_command, in_quotes, written

DRIVERS = "/sys/bus/pci/drivers"


class SetValue(msgspec.Struct, frozen=True, tag="set"):
    """Write a value to a kernel file."""

    path: str
    before: str
    """The value seen when the plan was made, without the line's end."""
    after: str


class SetAffinity(msgspec.Struct, frozen=True, tag="affinity"):
    """Say which CPUs may take an interrupt; done once it goes to none but them."""

    irq: str
    before: str
    """The list of CPUs seen when the plan was made, as the kernel prints it."""
    after: str
    action: str = ""
    """What finds the interrupt again after a boot, by the name of its folder in /proc/irq/N."""

    @property
    def path(self) -> str:
        """The file that is written."""
        return f"/proc/irq/{self.irq}/smp_affinity_list"


class SetCard(msgspec.Struct, frozen=True, tag="card"):
    """Set a network card, by the names that `collect.ethtool.Card` has."""

    interface: str
    group: str
    """rings, channels, coalesce or features."""
    before: dict[str, int]
    """The values seen when the plan was made."""
    after: dict[str, int]


class Unbind(msgspec.Struct, frozen=True, tag="unbind"):
    """Take a PCI function from its driver; undone by binding it again."""

    device: str
    """`0000:00:14.0`."""
    driver: str
    irq: str | None = None
    """The line that loses a handler by it; None where that is not the point."""
    handler: str | None = None
    """The name of that handler in the line's row of /proc/interrupts."""


class Bind(msgspec.Struct, frozen=True, tag="bind"):
    """Give a PCI function to a driver; undone by unbinding it."""

    device: str
    driver: str


class PutFile(msgspec.Struct, frozen=True, tag="file"):
    """Create or replace a file; undone by putting back what was there, byte for byte."""

    path: str
    before: str | None
    """The text seen when the plan was made; None if there was no such file."""
    after: str
    mode: int = 0o644


class AddAddress(msgspec.Struct, frozen=True, tag="address"):
    """Put an address on an interface that does not have it."""

    interface: str
    address: str
    """With the length of its prefix: `198.18.0.100/32`."""

    @property
    def what(self) -> str:
        """What is set."""
        return f"{self.address} on {self.interface}"

    @property
    def argv(self) -> tuple[str, ...]:
        """The command that does it."""
        return ("ip", "addr", "add", self.address, "dev", self.interface)


class SwitchOn(msgspec.Struct, frozen=True, tag="up"):
    """Switch on an interface that is off."""

    interface: str

    @property
    def what(self) -> str:
        """What is set."""
        return f"{self.interface} on"

    @property
    def argv(self) -> tuple[str, ...]:
        """The command that does it."""
        return ("ip", "link", "set", "dev", self.interface, "up")


class SetDefaultRoute(msgspec.Struct, frozen=True, tag="route"):
    """Give a host another default route."""

    before: tuple[str, ...]
    """Those seen when the plan was made, as `ip route` prints them behind `default`."""
    after: str
    """The one that replaces that of its metric, or comes beside them."""

    @property
    def what(self) -> str:
        """What is set."""
        return "default route"

    @property
    def argv(self) -> tuple[str, ...]:
        """The command that does it."""
        return ("ip", "route", "replace", "default", *self.after.split())


class Run(msgspec.Struct, frozen=True, tag="run"):
    """Run a command that makes a result from files, such as update-grub.

    Undoing goes backwards, so a command that must follow the files in both directions stands in
    a plan twice: before them as its own undo, and after them.
    """

    make: tuple[str, ...] = ()
    """argv; empty does nothing when the plan is applied."""
    undo: tuple[str, ...] = ()
    """argv; empty does nothing when it is taken back."""


Action = (
    SetValue
    | SetAffinity
    | SetCard
    | Unbind
    | Bind
    | PutFile
    | AddAddress
    | SwitchOn
    | SetDefaultRoute
    | Run
    | EditIpvs
    | DrainIpvs
)


class Change(msgspec.Struct, frozen=True):
    """One action, and why."""

    action: Action
    risk: Risk
    reason: str
    """The id of the check that asked for it."""
    fix: str
    """The id of the fix."""
    title: str
    """What it does, in a few words."""
    competes: tuple[str, ...] = ()
    """What on this host sets the same by itself, and so may undo it."""
    lasting: bool = False
    """Whether it outlives a reboot, and so is made only once the rest was confirmed."""


class Refusal(msgspec.Struct, frozen=True):
    """Something a fix does not do unless it is told to, and why."""

    reason: str
    """The id of the check that asked for it."""
    fix: str
    subject: str
    """The device or file that is left alone."""
    why: str
    name: str = ""
    """What `--force` calls it; empty where it cannot be done at all."""


class Plan(msgspec.Struct, frozen=True):
    """What would be done, and what would not."""

    changes: tuple[Change, ...] = ()
    refusals: tuple[Refusal, ...] = ()

    @property
    def risk(self) -> Risk | None:
        """The gravest risk of all changes; None where nothing is to be done."""
        return max((change.risk for change in self.changes), key=list(Risk).index, default=None)


def joined(plans: tuple[Plan, ...]) -> Plan:
    """Put *plans* one behind the other, what outlives a reboot last."""
    changes = (change for plan in plans for change in plan.changes)
    return Plan(
        tuple(sorted(changes, key=lambda change: change.lasting)),
        tuple(refusal for plan in plans for refusal in plan.refusals),
    )


def needed(changes: tuple[Change, ...]) -> tuple[Change, ...]:
    """Drop changes of what is already so; commands go with the files they follow."""
    wanted = tuple(change for change in changes if not _holds(change.action))
    return wanted if any(not isinstance(change.action, Run) for change in wanted) else ()


def silent(action: Action) -> bool:
    """Tell whether *action* does nothing when it is made: it stands there for the way back."""
    return isinstance(action, Run) and not action.make


def lines_of(text: str) -> list[str]:
    """Return the lines of a file's *text*; what else Python takes for a line's end is none."""
    return text.removesuffix("\n").split("\n") if text else []


def commands(action: Action) -> tuple[str, ...]:
    """Return the shell commands that do the same."""
    match action:
        case SetValue(path=path, after=after) | SetAffinity(path=path, after=after):
            return (written(path, after),)
        case SetCard(interface=interface, group=group, after=values):
            return (ethtool_command(interface, group, values),)
        case Unbind(device=device, driver=driver) | Bind(device=device, driver=driver):
            verb = "bind" if isinstance(action, Bind) else "unbind"
            return (written(f"{DRIVERS}/{driver}/{verb}", device),)
        case PutFile():
            return tuple(_file_commands(action))
        case (
            AddAddress(argv=argv)
            | SwitchOn(argv=argv)
            | SetDefaultRoute(argv=argv)
            | Run(make=argv)
        ):
            return (shlex.join(argv),) if argv else ()
        case EditIpvs() | DrainIpvs():
            return ipvs.commands(action)
        case _:
            assert_never(action)


def _holds(action: Action) -> bool:
    match action:
        case (
            SetValue(before=before, after=after)
            | PutFile(before=before, after=after)
            | SetAffinity(before=before, after=after)
            | SetCard(before=before, after=after)
        ):
            return before == after
        case (
            Unbind()
            | Bind()
            | AddAddress()
            | SwitchOn()
            | SetDefaultRoute()
            | Run()
            | EditIpvs()
            | DrainIpvs()
        ):
            return False
        case _:
            assert_never(action)


def _file_commands(action: PutFile) -> Iterator[str]:
    # Each row is a word: however far a text is indented that shows them, they can be pasted.
    rows, printer = action.after.removesuffix("\n").split("\n"), "printf '%s\\n'"
    if not all(map(str.isprintable, rows)):
        rows, printer = list(map(as_escapes, rows)), "printf '%b\\n'"
    words = " \\\n".join((printer, *map(in_quotes, rows)))
    yield f"{words if action.after else ':'} > {shlex.quote(action.path)}"
    if action.mode != 0o644:
        yield f"chmod {action.mode:o} {shlex.quote(action.path)}"
