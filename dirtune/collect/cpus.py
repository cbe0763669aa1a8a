"""/sys/devices/system/cpu and node: the CPUs, their cores, packages and NUMA nodes.

Files: drivers/base/cpu.c, topology.c, node.c. `offline` may be empty; `isolated` and `nohz_full`
are empty or `(null)` if unset. Nodes exist only in kernels with NUMA.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dirtune.collect.files import cpulist_in, number_in, texts_in, whole_numbers
from dirtune.cpu_sets import parse_cpulist
from dirtune.host import Host

_CPU = "/sys/devices/system/cpu"
_NODE = "/sys/devices/system/node"
_LISTS = ("online", "possible", "isolated", "nohz_full")
SOURCES = (
    *(f"{_CPU}/{name}" for name in _LISTS),
    f"{_CPU}/cpu[0-9]*/topology/thread_siblings_list",
    f"{_CPU}/cpu[0-9]*/topology/physical_package_id",
    f"{_NODE}/node[0-9]*/cpulist",
    f"{_NODE}/node[0-9]*/distance",
)


@dataclass(frozen=True, slots=True)
class Cpus:
    """The CPUs of a host; a field is empty or None if the host lacks its file."""

    online: tuple[int, ...]
    possible: tuple[int, ...] | None = None
    isolated: tuple[int, ...] = ()
    """CPUs kept free of tasks by isolcpus= or cpusets; they still get device interrupts."""
    nohz_full: tuple[int, ...] = ()
    siblings: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """Threads of the CPU's core, including the CPU itself, by CPU."""
    packages: Mapping[int, int] = field(default_factory=dict)
    nodes: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """CPUs by NUMA node; empty without NUMA."""
    distances: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """Distances to all nodes, in ascending order of the nodes, by NUMA node; 10 means itself."""

    @property
    def usable(self) -> tuple[int, ...]:
        """Online CPUs that are not isolated, and so can share work."""
        apart = {*self.isolated, *self.nohz_full}
        return tuple(cpu for cpu in self.online if cpu not in apart)

    def cores(self, cpus: tuple[int, ...] | None = None) -> int:
        """Return the number of physical cores of *cpus*, by default of the usable CPUs."""
        chosen = self.usable if cpus is None else cpus
        return len({self.siblings.get(cpu, (cpu,)) for cpu in chosen})


def read_cpus(host: Host) -> Cpus:
    """Read the CPUs. Raises `SourceMissing` if the record has no list of online CPUs."""
    online = parse_cpulist(host.read(f"{_CPU}/online"))
    return Cpus(
        online,
        cpulist_in(host, f"{_CPU}/possible"),
        cpulist_in(host, f"{_CPU}/isolated") or (),
        cpulist_in(host, f"{_CPU}/nohz_full") or (),
        {
            _cpu(path): parse_cpulist(text)
            for path, text in texts_in(
                host, f"{_CPU}/cpu[0-9]*/topology/thread_siblings_list"
            ).items()
        },
        {
            _cpu(path): number_in(host, path) or 0
            for path in host.glob(f"{_CPU}/cpu[0-9]*/topology/physical_package_id")
        },
        {
            _node(path): parse_cpulist(text)
            for path, text in texts_in(host, f"{_NODE}/node[0-9]*/cpulist").items()
        },
        {
            _node(path): whole_numbers(text)
            for path, text in texts_in(host, f"{_NODE}/node[0-9]*/distance").items()
        },
    )


def _cpu(path: str) -> int:
    return int(path.split("/")[5].removeprefix("cpu"))


def _node(path: str) -> int:
    return int(path.split("/")[5].removeprefix("node"))
