"""Create control groups that count the CPU time of each lab node and limit its CPUs.

With control groups version 1, each controller (cpuset, cpuacct) has its own hierarchy; with
version 2, one hierarchy serves all controllers.
"""

import contextlib
import zlib
from dataclasses import dataclass
from pathlib import Path

from dirtune.cpu_sets import format_cpulist
from dirtune.errors import LabError


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """The hierarchies of control groups on this machine, and the lab's group in them."""

    roots: tuple[Path, ...]
    version: int
    groups: tuple[Path, ...]


def find(lab: Path, root: Path = Path("/sys/fs/cgroup")) -> Hierarchies:
    """Return the hierarchies that offer CPU sets and CPU accounting, for the lab in *lab*.

    *root* is the folder where the hierarchies are mounted. Raises `LabError` if they are missing.
    """
    name = f"dirtune-lab-{zlib.crc32(bytes(lab.absolute())):08x}"
    v1 = tuple(root / controller for controller in ("cpuset", "cpuacct"))
    if all((path / "tasks").exists() for path in v1):
        return Hierarchies(v1, 1, tuple(path / name for path in v1))
    if (root / "cgroup.controllers").exists():
        return Hierarchies((root,), 2, (root / name,))
    raise LabError(
        f"The lab needs control groups for CPU sets and CPU accounting, which {root} lacks. "
        f"Mount them: mount -t cgroup2 cgroup2 {root}"
    )


def create(hierarchies: Hierarchies, node: str, cpus: frozenset[int]) -> None:
    """Create the control group of *node*, which may use only *cpus*."""
    for root, group in zip(hierarchies.roots, hierarchies.groups, strict=True):
        group.mkdir(exist_ok=True)
        if hierarchies.version == 2:
            for parent in (root, group):
                (parent / "cgroup.subtree_control").write_text("+cpuset +cpu")
        elif root.name == "cpuset":
            _inherit(root, group)
        leaf = group / node
        leaf.mkdir(exist_ok=True)
        if hierarchies.version == 2 or root.name == "cpuset":
            (leaf / "cpuset.mems").write_text((root / _mems(hierarchies)).read_text())
            (leaf / "cpuset.cpus").write_text(format_cpulist(cpus))


def _mems(hierarchies: Hierarchies) -> str:
    return "cpuset.mems" if hierarchies.version == 1 else "cpuset.mems.effective"


def _inherit(parent: Path, group: Path) -> None:
    for name in ("cpuset.mems", "cpuset.cpus"):
        (group / name).write_text((parent / name).read_text())


def members_files(hierarchies: Hierarchies, node: str) -> tuple[Path, ...]:
    """Return the files to which a process writes its id to join the control group of *node*."""
    return tuple(group / node / "cgroup.procs" for group in hierarchies.groups)


def remove(hierarchies: Hierarchies) -> None:
    """Remove all control groups of the lab, in which no process may be left."""
    for group in hierarchies.groups:
        if not group.is_dir():
            continue
        for leaf in (path for path in group.iterdir() if path.is_dir()):
            leaf.rmdir()
        group.rmdir()


def exists(hierarchies: Hierarchies) -> bool:
    """Return whether a control group of the lab exists."""
    return any(group.is_dir() for group in hierarchies.groups)


def remove_when_empty(hierarchies: Hierarchies) -> bool:
    """Remove the lab's control groups; return False if a process is still in one of them."""
    with contextlib.suppress(OSError):
        remove(hierarchies)
    return not exists(hierarchies)
