"""Each lab node's own control group: its CPU time is the node's, its cpuset the node's CPUs.

Version 1 has a hierarchy per controller (cpuset, cpuacct), version 2 one for all.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from dirtune.errors import LabError

NAME = "dirtune-lab"


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """Where control groups can be made on this machine."""

    roots: tuple[Path, ...]
    version: int


def find(root: Path = Path("/sys/fs/cgroup")) -> Hierarchies:
    """Return the hierarchies that give CPU sets and CPU accounting."""
    v1 = tuple(root / name for name in ("cpuset", "cpuacct"))
    if all((path / "tasks").exists() for path in v1):
        return Hierarchies(v1, 1)
    if (root / "cgroup.controllers").exists():
        return Hierarchies((root,), 2)
    raise LabError(
        f"{root}: no cpuset and cpuacct control groups; mount cgroup2 there, "
        "or the version 1 controllers below it"
    )


def create(found: Hierarchies, node: str, cpus: frozenset[int]) -> None:
    """Make the group of *node*, confined to *cpus*."""
    for root in found.roots:
        group = root / NAME
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
            (leaf / "cpuset.cpus").write_text(",".join(map(str, sorted(cpus))))


def _mems(found: Hierarchies) -> str:
    return "cpuset.mems" if found.version == 1 else "cpuset.mems.effective"


def _inherit(parent: Path, group: Path) -> None:
    for name in ("cpuset.mems", "cpuset.cpus"):
        (group / name).write_text((parent / name).read_text())


def members_files(found: Hierarchies, node: str) -> tuple[Path, ...]:
    """Return the files a process writes its id to in order to join *node*'s group."""
    return tuple(root / NAME / node / "cgroup.procs" for root in found.roots)


def remove(found: Hierarchies) -> None:
    """Remove every group of the lab; the processes in them must have ended."""
    for root in found.roots:
        group = root / NAME
        if not group.is_dir():
            continue
        for leaf in (path for path in group.iterdir() if path.is_dir()):
            leaf.rmdir()
        group.rmdir()


def exists(found: Hierarchies) -> bool:
    """Tell whether a group of the lab is there."""
    return any((root / NAME).is_dir() for root in found.roots)


def remove_when_empty(found: Hierarchies) -> bool:
    """Remove the lab's groups; False while a process that is ending still holds one."""
    with contextlib.suppress(OSError):
        remove(found)
    return not exists(found)
