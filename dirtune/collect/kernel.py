"""/proc/sys/kernel: the host's name and its kernel."""

from dataclasses import dataclass

from dirtune.errors import SourceMissing, SourceRefused
from dirtune.host import Host

_HOSTNAME, _OSRELEASE, _VERSION = (
    f"/proc/sys/kernel/{name}" for name in ("hostname", "osrelease", "version")
)
SOURCES = (_HOSTNAME, _OSRELEASE, _VERSION)


@dataclass(frozen=True, slots=True)
class Kernel:
    """Who this is; None where the record does not say."""

    hostname: str | None
    osrelease: str | None
    """`6.1.0-56-amd64`."""
    version: str | None
    """The build, with words such as SMP and PREEMPT_RT."""


def read_kernel(host: Host) -> Kernel:
    """Read the names; `SourceMissing` if the record has none of them."""
    names = [_name(host, path) for path in SOURCES]
    if names == [None, None, None]:
        raise SourceMissing("/proc/sys/kernel: not on this host")
    return Kernel(*names)


def _name(host: Host, path: str) -> str | None:
    try:
        return host.read(path).strip()
    except (SourceMissing, SourceRefused):
        return None
