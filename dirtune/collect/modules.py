"""/proc/modules and /sys/module: what is loaded, and the parameters the audit judges.

Format: kernel/module/procfs.c. What is built into the kernel is not in /proc/modules; it has a
folder in /sys/module if it has parameters.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dirtune.errors import SourceMissing, SourceRefused
from dirtune.host import Host

SOURCE = "/proc/modules"
_PARAMETERS = "/sys/module/{}/parameters/*"
# Drivers with an option against MSI, and what belongs to IPVS.
_WANTED = (
    *("be2net", "bnx2", "bnx2x", "e1000e", "forcedeth", "igb", "ixgbe", "mlx4_core", "myri10ge"),
    *("ip_vs", "nf_conntrack", "qlcnic", "sky2"),
)
SOURCES = (SOURCE, *(_PARAMETERS.format(name) for name in _WANTED))


@dataclass(frozen=True, slots=True)
class Modules:
    """Loaded modules and parameters."""

    loaded: frozenset[str]
    parameters: Mapping[str, str]
    """By `module.parameter`; one that only root may read may be absent."""


def read_modules(host: Host) -> Modules:
    """Read the list; `SourceMissing` in a kernel without modules."""
    rows = host.read(SOURCE).splitlines()
    parameters = {}
    for path in (path for pattern in SOURCES[1:] for path in host.glob(pattern)):
        try:
            parameters[f"{path.split('/')[3]}.{path.rsplit('/', 1)[1]}"] = host.read(path).strip()
        except (SourceMissing, SourceRefused):
            continue
    return Modules(frozenset(row.split()[0] for row in rows if row.strip()), parameters)
