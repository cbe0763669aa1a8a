"""The files that make settings again after a boot, and a row of one. Pure.

sysctl.d(5) for settings below /proc/sys, and modules-load.d(5) where a module must be there first;
udev(7) for NICs, their queues and PCI functions, which come when they are found; a unit that runs
a script for the rest.
"""

from dataclasses import dataclass

SYSCTL = "/etc/sysctl.d/90-dirtune.conf"
MODULES = "/etc/modules-load.d/dirtune.conf"
UDEV = "/etc/udev/rules.d/90-dirtune.rules"
SCRIPT = "/etc/dirtune/boot.sh"
UNIT = "/etc/systemd/system/dirtune-boot.service"
FILES = (SYSCTL, MODULES, UDEV, SCRIPT, UNIT)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file: the value stands between what tells it from other rows."""

    path: str
    before: str
    value: str
    after: str = ""

    @property
    def text(self) -> str:
        """The row as it is written."""
        return f"{self.before}{self.value}{self.after}"

    def replaces(self, row: str) -> bool:
        """Whether *row*, of the same file, sets the same."""
        alike = row.startswith(self.before) and row.endswith(self.after)
        return alike if self.value else row == self.text


@dataclass(frozen=True, slots=True)
class Unwritable:
    """A name of the machine that the file which would keep a change cannot hold."""

    name: str
    path: str


def udev_row(subsystem: str, kernel: str, key: str, value: str) -> Row:
    """Return the udev rule that gives *key* of the device called *kernel* a value."""
    # An interface gets its name after it was added, which is another event.
    action = "add|move" if subsystem == "net" else "add"
    rule = f'ACTION=="{action}", SUBSYSTEM=="{subsystem}", KERNEL=="{kernel}"'
    return Row(UDEV, f"{rule}, {key}", value, '"')
