"""Each lab node's own control group: its CPU time is the node's, its cpuset the node's CPUs.

Version 1 has a hierarchy per controller (cpuset, cpuacct), version 2 one for all.
"""

import contextlib
import zlib
from dataclasses import dataclass
from pathlib import Path

from dirtune.cpu_sets import format_cpulist
from dirtune.errors import LabError


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """Where control groups can be made on this machine, and one lab's group in each."""

    roots: tuple[Path, ...]
    version: int
    groups: tuple[Path, ...]


def find(lab: Path, root: Path = Path("/sys/fs/cgroup")) -> Hierarchies:
    """Return the hierarchies that give CPU sets and CPU accounting, for the lab of one folder."""
    name = f"dirtune-lab-{zlib.crc32(bytes(lab.absolute())):08x}"
    v1 = tuple(root / controller for controller in ("cpuset", "cpuacct"))
    if all((path / "tasks").exists() for path in v1):
        return Hierarchies(v1, 1, tuple(path / name for path in v1))
    if (root / "cgroup.controllers").exists():
        return Hierarchies((root,), 2, (root / name,))
    raise LabError(
        f"{root}: no cpuset and cpuacct control groups; mount cgroup2 there, "
        "or the version 1 controllers below it"
    )


def create(found: Hierarchies, node: str, cpus: frozenset[int]) -> None:
    """Make the group of *node*, confined to *cpus*."""
    for root, group in zip(found.roots, found.groups, strict=True):
        group.mkdir(exist_ok=True)
        if found.version == 2:
            for parent in (root, group):
                (parent / "cgroup.subtree_control").write_text("+cpuset +cpu")
        elif root.name == "cpuset":
            _inherit(root, group)
        leaf = group / node
        leaf.mkdir(exist_ok=True)
        if found.version == 2 or root.name == "cpuset":
            (leaf / "cpuset.mems").write_text((root / _mems(found)).read_text())
            (leaf / "cpuset.cpus").write_text(format_cpulist(cpus))


def _mems(found: Hierarchies) -> str:
    return "cpuset.mems" if found.version == 1 else "cpuset.mems.effective"


def _inherit(parent: Path, group: Path) -> None:
    for name in ("cpuset.mems", "cpuset.cpus"):
        (group / name).write_text((parent / name).read_text())


def members_files(found: Hierarchies, node: str) -> tuple[Path, ...]:
    """Return the files a process writes its id to in order to join *node*'s group."""
    return tuple(group / node / "cgroup.procs" for group in found.groups)


def remove(found: Hierarchies) -> None:
    """Remove every group of the lab; the processes in them must have ended."""
    for group in found.groups:
        if not group.is_dir():
            continue
        for leaf in (path for path in group.iterdir() if path.is_dir()):
            leaf.rmdir()
        group.rmdir()


def exists(found: Hierarchies) -> bool:
    """Tell whether a group of the lab is there."""
    return any(group.is_dir() for group in found.groups)


def remove_when_empty(found: Hierarchies) -> bool:
    """Remove the lab's groups; False while a process that is ending still holds one."""
    with contextlib.suppress(OSError):
        remove(found)
    return not exists(found)
