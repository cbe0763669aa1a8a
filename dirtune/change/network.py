"""The network namespace of a change: undone in another, it would write to what it never set."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def here() -> str:
    """Return what names the network namespace of this process, until the next boot."""
    return str(Path("/proc/self/ns/net").readlink())


def is_elsewhere(name: str) -> bool:
    """Whether *name* is another network namespace than this one, and still there."""
    return name != here() and name in _all()


def _all() -> Iterator[str]:
    """Yield the namespaces that have a process or a file, as ip-netns(8) and containers make."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            yield str((process / "ns/net").readlink())
    for row in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines():
        yield row.split(" ", 4)[3]  # of the file system of namespaces, the namespace
