"""/proc/sys/kernel: the host's name and the version of its kernel."""

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
    """The host's name and kernel version; a field is None if the record lacks its file."""

    hostname: str | None
    osrelease: str | None
    """The release, such as `6.1.0-56-amd64`."""
    version: str | None
    """The description of the build, with words such as SMP and PREEMPT_RT."""


def read_kernel(host: Host) -> Kernel:
    """Read host name and kernel version. Raises `SourceMissing` if the record has neither."""
    names = [text_in(host, path) for path in SOURCES]
    if names == [None, None, None]:
        raise SourceMissing("/proc/sys/kernel does not exist on this host")
    return Kernel(*names)
