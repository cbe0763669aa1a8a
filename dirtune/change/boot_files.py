"""The files that make settings again after a boot, and their rows. Pure.

Settings below /proc/sys go to sysctl.d(5), and the modules that they need to modules-load.d(5).
Settings of NICs, their queues and PCI functions, which may appear late, go to udev(7). A systemd
unit runs a script for the rest.
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
    """One row of a file: a value between two texts that distinguish the row from others."""

    path: str
    before: str
    value: str
    after: str = ""

    @property
    def text(self) -> str:
        """The row as it is written."""
        return f"{self.before}{self.value}{self.after}"

    def replaces(self, row: str) -> bool:
        """Whether *row*, of the same file, sets the same thing."""
        alike = row.startswith(self.before) and row.endswith(self.after)
        return alike if self.value else row == self.text


@dataclass(frozen=True, slots=True)
class Unwritable:
    """A name of a device or file that a boot file cannot hold."""

    name: str
    path: str


def udev_row(subsystem: str, kernel: str, key: str, value: str) -> Row:
    """Return the udev rule that sets *key* of the device called *kernel* to *value*."""
    # An interface gets its final name after it was added, in a separate event.
    action = "add|move" if subsystem == "net" else "add"
    rule = f'ACTION=="{action}", SUBSYSTEM=="{subsystem}", KERNEL=="{kernel}"'
    return Row(UDEV, f"{rule}, {key}", value, '"')
