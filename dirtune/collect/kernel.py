"""/proc/sys/kernel: the host's name and its kernel."""

from dataclasses import dataclass

from dirtune.collect.files import text_in
from dirtune.errors import SourceMissing
from dirtune.host import Host

_HOSTNAME, _OSRELEASE, _VERSION = (
    f"/proc/sys/kernel/{name}" for name in ("hostname", "osrelease", "version")
)
SOURCES = (_HOSTNAME, _OSRELEASE, _VERSION)


@dataclass(frozen=True, slots=True)
class Kernel:
    """The host's name and kernel; None where the record does not say."""

    hostname: str | None
    osrelease: str | None
    """`6.1.0-56-amd64`."""
    version: str | None
    """The build, with words such as SMP and PREEMPT_RT."""


def read_kernel(host: Host) -> Kernel:
    """Read the names; `SourceMissing` if the record has none of them."""
    names = [text_in(host, path) for path in SOURCES]
    if names == [None, None, None]:
        raise SourceMissing("/proc/sys/kernel: not on this host")
    return Kernel(*names)
