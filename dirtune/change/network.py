"""Identify the network namespace of a change, because an undo must run in the same one.

The kernel reuses the numbers of namespaces that are gone, and any user may make a namespace. A
name here therefore has two numbers: that of the network namespace, and that of the user namespace
that owns it. A namespace of another user never has the same owner.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_NS_GET_USERNS = 0xB701  # ioctl_nsfs(2)


def here() -> str:
    """Return the name of this process's network namespace, valid until the next boot."""
    return _name(Path("/proc/self/ns/net"))


def is_main() -> bool | None:
    """Whether this is the network namespace of process 1, which exists again after a reboot.

    The result is None if the namespace of process 1 cannot be read, as in some containers.
    """
    try:
        return _name(Path("/proc/1/ns/net")) == here()
    except OSError:
        return None


def is_here(name: str) -> bool:
    """Whether *name* is this process's network namespace, or is unknown."""
    return _same(name, here())


def is_elsewhere(name: str) -> bool:
    """Whether the namespace *name* still exists and is not this process's own."""
    return not is_here(name) and any(_same(name, other) for other in _all(name))


def _all(name: str) -> Iterator[str]:
    """Yield the names of the existing namespaces that have the same number as *name*.

    A namespace exists if a process is in it (containers) or if it is mounted (ip-netns(8)). The
    owner of a mounted namespace is not checked, because only root can mount one here.
    """
    number = name.partition(" ")[0]
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if str((process / "ns/net").readlink()) == number:
                yield _name(process / "ns/net")
    # Users who may mount, as with fusermount(1), choose names, so only newlines end a line here.
    with Path("/proc/self/mountinfo").open("rb") as rows:
        for row in rows:  # the fourth field is net:[1] or the like for a namespace
            yield os.fsdecode(row.split(b" ", 4)[3])


def _same(one: str, other: str) -> bool:
    """Whether both names mean the same namespace; names without an owner match by number."""
    return one.startswith(other) or other.startswith(one)


def _name(namespace: Path) -> str:
    number = str(namespace.readlink())
    file = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        owner = fcntl.ioctl(file, _NS_GET_USERNS)
    except OSError:  # above ours, as in a container that shares the network of its host
        return number
    finally:
        os.close(file)
    try:
        return f"{number} {Path(f'/proc/self/fd/{owner}').readlink()}"
    finally:
        os.close(owner)
