"""The network namespace of a change: an undo in another one would write to untouched settings.

The kernel reuses the number of a namespace that is gone, and any user may make a namespace. A name
here is therefore the namespace's number and that of the user namespace that owns it: a namespace
made by another user never has the same owner.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_NS_GET_USERNS = 0xB701  # ioctl_nsfs(2)


def here() -> str:
    """Return a name of this process's network namespace, valid until the next boot."""
    return _name(Path("/proc/self/ns/net"))


def is_elsewhere(name: str) -> bool:
    """Whether *name* is another network namespace than this process's, and still exists."""
    return not _same(name, here()) and any(_same(name, other) for other in _all(name))


def _all(name: str) -> Iterator[str]:
    """Yield the names of namespaces with the number of *name*, made by ip-netns(8) or containers.

    A process is in them, or they are mounted. Only root can mount a namespace here, so the owner
    of a mounted one is not checked.
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
    """Whether both names mean one namespace; if only one names the owner, the number decides."""
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
