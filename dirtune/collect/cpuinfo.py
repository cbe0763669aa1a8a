"""/proc/cpuinfo: the CPU model and its flags.

Each architecture defines the format in its own show_cpuinfo(). On x86 a row lists the CPU's flags;
every hypervisor sets the flag `hypervisor` for its guests.
"""

from dataclasses import dataclass

from dirtune.host import Host

SOURCE = "/proc/cpuinfo"
SOURCES = (SOURCE,)


@dataclass(frozen=True, slots=True)
class CpuInfo:
    """The model and the flags of the first CPU."""

    model: str | None
    flags: frozenset[str] | None
    """None if the architecture prints no flags."""

    @property
    def guest(self) -> bool | None:
        """Whether this is a virtual machine; None if the file has no flags."""
        return None if self.flags is None else "hypervisor" in self.flags


def read_cpuinfo(host: Host) -> CpuInfo:
    """Read the first CPU's description."""
    return parse_cpuinfo(host.read(SOURCE))


def parse_cpuinfo(text: str) -> CpuInfo:
    """Parse the text of /proc/cpuinfo."""
    first, _, _ = text.partition("\n\n")
    rows = (row.partition(":") for row in first.splitlines())
    values = {key.strip(): value.strip() for key, _, value in rows}
    flags = values.get("flags")
    model = values.get("model name") or values.get("cpu model") or values.get("cpu")
    return CpuInfo(model, None if flags is None else frozenset(flags.split()))
