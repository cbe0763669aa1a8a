"""/proc/modules and /sys/module: the loaded modules, and the parameters that the audit checks.

Format: kernel/module/procfs.c. Modules built into the kernel are not in /proc/modules; they have a
folder in /sys/module if they have parameters.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dirtune.errors import SourceMissing, SourceRefused
from dirtune.host import Host

SOURCE = "/proc/modules"
_PARAMETERS = "/sys/module/{}/parameters/*"
# Drivers with an option that disables MSI, and the modules of IPVS.
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
    """Values by `module.parameter`; a parameter that only root may read can be absent."""


def read_modules(host: Host) -> Modules:
    """Read modules and parameters. Raises `SourceMissing` if the kernel has no modules."""
    rows = host.read(SOURCE).splitlines()
    parameters = {}
    for path in (path for pattern in SOURCES[1:] for path in host.glob(pattern)):
        try:
            parameters[f"{path.split('/')[3]}.{path.rsplit('/', 1)[1]}"] = host.read(path).strip()
        except (SourceMissing, SourceRefused):
            continue
    return Modules(frozenset(row.split()[0] for row in rows if row.strip()), parameters)
