"""The files that repeat settings after a boot, and the rows of these files. Pure.

Settings below /proc/sys go to sysctl.d(5), and the modules that they need to modules-load.d(5).
Settings of NICs, their queues and PCI functions go to udev(7), because these devices may appear
late. A systemd unit runs a script for all other settings.
"""

from dataclasses import dataclass

from dirtune.settings import SYSCTL_FILE

SYSCTL = SYSCTL_FILE
MODULES = "/etc/modules-load.d/dirtune.conf"
UDEV = "/etc/udev/rules.d/90-dirtune.rules"
SCRIPT = "/etc/dirtune/boot.sh"
UNIT = "/etc/systemd/system/dirtune-boot.service"
FILES = (SYSCTL, MODULES, UDEV, SCRIPT, UNIT)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file: a value between two texts, which identify the setting."""

    path: str
    before: str
    value: str
    after: str = ""

    @property
    def text(self) -> str:
        """The complete row."""
        return f"{self.before}{self.value}{self.after}"

    def replaces(self, row: str) -> bool:
        """Whether this row and *row*, which is in the same file, set the same thing."""
        alike = row.startswith(self.before) and row.endswith(self.after)
        return alike if self.value else row == self.text


@dataclass(frozen=True, slots=True)
class Unwritable:
    """A device's or file's name that cannot be written into the boot file *path*."""

    name: str
    path: str


def udev_row(subsystem: str, kernel: str, key: str, value: str) -> Row:
    """Return the udev rule that sets *key* of the device called *kernel* to *value*."""
    # An interface gets its final name after it was added, in a separate event.
    action = "add|move" if subsystem == "net" else "add"
    rule = f'ACTION=="{action}", SUBSYSTEM=="{subsystem}", KERNEL=="{kernel}"'
    return Row(UDEV, f"{rule}, {key}", value, '"')
