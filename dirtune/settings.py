"""The settings of a fix, as data; the audit prints them as commands, and `change` applies them."""

import enum
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import assert_never

RINGS, CHANNELS, COALESCE, FEATURES = "rings", "channels", "coalesce", "features"
MODPROBE_FILE = "/etc/modprobe.d/dirtune.conf"
SYSCTL_FILE = "/etc/sysctl.d/90-dirtune.conf"
# Names without special meaning to udev and sysctl.d, which match them as patterns; udev also
# expands them in commands.
_PLAIN = re.compile(r"[A-Za-z0-9_.:+-]+")
_OPTIONS = {RINGS: "-G", CHANNELS: "-L", COALESCE: "-C", FEATURES: "-K"}
# Names in ethtool(8) that differ from the kernel's names.
_WORDS = {
    "combined_count": "combined",
    "rx_count": "rx",
    "tx_count": "tx",
    "use_adaptive_rx_coalesce": "adaptive-rx",
    "use_adaptive_tx_coalesce": "adaptive-tx",
    "rx_coalesce_usecs": "rx-usecs",
    "tx_coalesce_usecs": "tx-usecs",
    "rx_max_coalesced_frames": "rx-frames",
    "tx_max_coalesced_frames": "tx-frames",
    "rx-lro": "lro",
    "rx-gro": "gro",
}


class Risk(enum.StrEnum):
    """How applying a fix affects a live director."""

    SAFE = "safe"
    DISRUPTIVE = "disruptive"
    REBOOT = "reboot"


@dataclass(frozen=True, slots=True)
class KernelFile:
    """The value of one kernel file, such as a sysctl, a mask of CPUs or a governor."""

    path: str
    value: str


@dataclass(frozen=True, slots=True)
class IrqCpus:
    """The CPUs that may take an interrupt."""

    irq: str
    cpus: tuple[int, ...]
    action: str
    """The handler's name, which identifies the interrupt after a boot, when numbers may change."""


@dataclass(frozen=True, slots=True)
class CardValues:
    """Settings of a NIC, with the names that `collect.ethtool.Card` uses."""

    interface: str
    group: str
    """One of rings, channels, coalesce and features."""
    values: Mapping[str, int]
    """Values by setting: descriptors, queues or microseconds; for a switch, 0 is off and 1 is
    on."""


@dataclass(frozen=True, slots=True)
class EvenRss:
    """An RSS indirection table that spreads packets evenly over a NIC's first queues."""

    interface: str
    queues: int


@dataclass(frozen=True, slots=True)
class BootOption:
    """A word of the kernel command line to remove, to add, or to replace."""

    drop: str = ""
    add: str = ""


@dataclass(frozen=True, slots=True)
class ModuleOptions:
    """Parameters for a kernel module, which take effect when the module is next loaded."""

    module: str
    values: Mapping[str, str]

    @property
    def row(self) -> str:
        """The row to put into a file of modprobe.d(5)."""
        return " ".join(("options", self.module, *(f"{n}={v}" for n, v in self.values.items())))


@dataclass(frozen=True, slots=True)
class IrqbalanceVariable:
    """An environment variable for irqbalance."""

    name: str
    value: str


Setting = (
    KernelFile | IrqCpus | CardValues | EvenRss | BootOption | ModuleOptions | IrqbalanceVariable
)


def shell(setting: Setting) -> tuple[str, ...]:
    """Return the shell commands that apply *setting*; empty if a command line cannot apply it."""
    match setting:
        case KernelFile(path=path, value=value):
            return (written(path, value),)
        case IrqCpus(irq=irq, cpus=cpus):
            return (written(f"/proc/irq/{irq}/smp_affinity_list", ",".join(map(str, cpus))),)
        case CardValues(interface=interface, group=group, values=values):
            return (ethtool_command(interface, group, values),)
        case EvenRss(interface=interface, queues=queues):
            return (even_rss_command(interface, queues),)
        case ModuleOptions():
            return (appended(MODPROBE_FILE, setting.row),)
        case BootOption() | IrqbalanceVariable():
            return ()
        case _:
            assert_never(setting)


def written(path: str, value: str) -> str:
    """Return the shell command that writes *value* to the file *path*."""
    return f"{_printing(value, shlex.quote)} > {shlex.quote(path)}"


def appended(path: str, row: str) -> str:
    """Return the shell command that appends *row* to the file *path*."""
    # The row is quoted even if the shell does not need it, because it is easier to read.
    return f"{_printing(row, in_quotes)} >> {shlex.quote(path)}"


def _printing(text: str, quote: Callable[[str], str]) -> str:
    """Return a printf command that prints *text* unchanged; echo would interpret escapes."""
    if not text.isprintable():
        return f"printf '%b\\n' {quote(as_escapes(text))}"
    printer = "printf '%s\\n'" if "\\" in text or text.startswith("-") else "echo"
    return f"{printer} {quote(text)}"


def as_escapes(text: str) -> str:
    """Return *text* with unprintable characters as escapes for the format `%b` of printf(1)."""
    return "".join(_escape(c) if not c.isprintable() or c == "\\" else c for c in text)


def _escape(character: str) -> str:
    if character in "\t\\":
        return "\\t" if character == "\t" else "\\\\"
    return "".join(f"\\0{byte:03o}" for byte in character.encode(errors="backslashreplace"))


def plain(name: str) -> bool:
    """Return whether udev and sysctl.d(5) take every character of *name* literally."""
    return _PLAIN.fullmatch(name) is not None and name not in {".", ".."}


def in_quotes(text: str) -> str:
    """Return *text* as one word of a shell command, always in quotes."""
    quoted = shlex.quote(text)
    return quoted if quoted != text else f"'{text}'"


def ethtool_command(interface: str, group: str, values: Mapping[str, int]) -> str:
    """Return the ethtool(8) command that sets *values* on a NIC."""
    return shlex.join(ethtool_argv(interface, group, values))


def even_rss_command(interface: str, queues: int) -> str:
    """Return the ethtool(8) command that spreads a NIC's RSS table evenly over *queues* queues."""
    return shlex.join(("ethtool", "-X", interface, "equal", str(queues)))


def ethtool_argv(interface: str, group: str, values: Mapping[str, int]) -> tuple[str, ...]:
    """Return the words of the ethtool(8) command that sets *values* on a NIC."""
    return ("ethtool", _OPTIONS[group], interface, *_words(group, values))


def _words(group: str, values: Mapping[str, int]) -> Iterator[str]:
    for name, value in values.items():
        switch = group == FEATURES or name.startswith("use_adaptive_")
        yield _WORDS.get(name, name)
        yield ("off", "on")[value] if switch else str(value)
