"""What a fix sets, as data: the audit shows it as shell commands, `tune` makes changes of it."""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

RINGS, CHANNELS, COALESCE, FEATURES = "rings", "channels", "coalesce", "features"
MODPROBE_FILE = "/etc/modprobe.d/dirtune.conf"
_OPTIONS = {RINGS: "-G", CHANNELS: "-L", COALESCE: "-C", FEATURES: "-K"}
# ethtool(8)'s words for what the kernel calls otherwise.
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
    """What applying a fix does to a live director."""

    SAFE = "safe"
    DISRUPTIVE = "disruptive"
    REBOOT = "reboot"


@dataclass(frozen=True, slots=True)
class KernelFile:
    """One value in one file of the kernel: a sysctl, a mask of CPUs, a governor."""

    path: str
    value: str


@dataclass(frozen=True, slots=True)
class IrqCpus:
    """The CPUs that may take an interrupt."""

    irq: str
    cpus: tuple[int, ...]
    action: str
    """What finds the interrupt again after a boot, when numbers may have changed."""


@dataclass(frozen=True, slots=True)
class CardValues:
    """How a network card is set, by the names that `collect.ethtool.Card` has."""

    interface: str
    group: str
    """rings, channels, coalesce or features."""
    values: Mapping[str, int]
    """Descriptors, queues, microseconds; 0 and 1 for off and on."""


@dataclass(frozen=True, slots=True)
class BootOption:
    """A word of the kernel command line that goes, comes, or is replaced."""

    drop: str = ""
    add: str = ""


@dataclass(frozen=True, slots=True)
class ModuleOptions:
    """Parameters that a module takes when it is loaded next."""

    module: str
    values: Mapping[str, str]

    @property
    def row(self) -> str:
        """The row of modprobe.d(5)."""
        return " ".join(("options", self.module, *(f"{n}={v}" for n, v in self.values.items())))


@dataclass(frozen=True, slots=True)
class IrqbalanceVariable:
    """What irqbalance is started with."""

    name: str
    value: str


Setting = KernelFile | IrqCpus | CardValues | BootOption | ModuleOptions | IrqbalanceVariable


def shell(setting: Setting) -> tuple[str, ...]:
    """Return the shell commands that set it now; none where it is for the next boot's menu."""
    match setting:
        case KernelFile(path=path, value=value):
            return (f"echo {value} > {path}",)
        case IrqCpus(irq=irq, cpus=cpus):
            return (f"echo {','.join(map(str, cpus))} > /proc/irq/{irq}/smp_affinity_list",)
        case CardValues(interface=interface, group=group, values=values):
            return (ethtool_command(interface, group, values),)
        case ModuleOptions():
            return (f"echo '{setting.row}' >> {MODPROBE_FILE}",)
    return ()


def ethtool_command(interface: str, group: str, values: Mapping[str, int]) -> str:
    """Return the command that gives a card *values*."""
    words = " ".join(_words(group, values))
    return f"ethtool {_OPTIONS[group]} {interface} {words}"


def _words(group: str, values: Mapping[str, int]) -> Iterator[str]:
    for name, value in values.items():
        switch = group == FEATURES or name.startswith("use_adaptive_")
        yield f"{_WORDS.get(name, name)} {('off', 'on')[value] if switch else value}"
