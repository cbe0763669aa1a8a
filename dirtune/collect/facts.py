"""What this machine and this user have, for each feature of dirtune to be judged by.

Not a kernel source: which commands, Python modules, kernels and rights are here. Nothing is
imported, loaded or started by looking.
"""

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from dirtune.errors import SourceMissing, SourceRefused
from dirtune.host import Host

# Where distributions keep modules for their own python3; bcc is there and on no index.
_DISTRIBUTION = "/usr/lib/python3/dist-packages"
_COMMANDS = (
    "h2load",
    "httperf",
    "ip",
    "ipvsadm",
    "nginx",
    "qemu-system-x86_64",
    "sshd",
    "vng",
)
_MODULES = ("altair", "asyncssh", "jinja2", "pyroute2", "scipy", "vl_convert")
# What a kernel must have as modules (or built in) to be a director of the lab.
_LAB_MODULES = ("e1000", "ip_vs", "sym53c8xx")


class Facts(msgspec.Struct, frozen=True):
    """What was found; None is "cannot be told from here"."""

    root: bool
    release: str
    """Release of the running kernel."""
    proc_readable: bool
    """/proc/interrupts can be read."""
    bcc: bool
    headers: bool
    """Headers of the running kernel, or the kernel's own copy of them."""
    tracepoints: bool | None
    """`irq:irq_handler_entry` exists; None where tracefs is not mounted."""
    lockdown: str | None
    """Mode of the lockdown security module; None where there is none."""
    commands: frozenset[str]
    """Those of the wanted commands that were found, the virtual environment's included."""
    modules: frozenset[str]
    """Those of the wanted Python modules that can be imported."""
    lab_kernels: tuple[str, ...]
    """Releases with an image in /boot and every module the lab's director needs."""
    lab_headers: tuple[str, ...]
    """Those of `lab_kernels` whose headers are installed."""
    tun: bool
    """/dev/net/tun exists, for tap devices."""
    free_bytes: int
    """Free space in the directory for temporary files."""


def read_facts(host: Host) -> Facts:
    """Return what *host* and the running interpreter have."""
    release = os.uname().release
    kernels = _lab_kernels(host)
    return Facts(
        root=os.geteuid() == 0,
        release=release,
        proc_readable=_text(host, "/proc/interrupts") is not None,
        bcc=_has_bcc(),
        headers=_has_headers(host, release) or bool(host.glob("/sys/kernel/kheaders.tar.xz")),
        tracepoints=_tracepoints(host),
        lockdown=parse_lockdown(_text(host, "/sys/kernel/security/lockdown")),
        commands=frozenset(name for name in _COMMANDS if _which(name)),
        modules=frozenset(name for name in _MODULES if importlib.util.find_spec(name)),
        lab_kernels=kernels,
        lab_headers=tuple(kernel for kernel in kernels if _has_headers(host, kernel)),
        tun=bool(host.glob("/dev/net/tun")),
        free_bytes=shutil.disk_usage(tempfile.gettempdir()).free,
    )


@contextmanager
def find_bcc() -> Iterator[None]:
    """Let an `import bcc` find the distribution's module from inside a virtual environment."""
    if importlib.util.find_spec("bcc") is not None:
        yield
        return
    sys.path.append(_DISTRIBUTION)
    try:
        yield
    finally:
        sys.path.remove(_DISTRIBUTION)


def parse_lockdown(text: str | None) -> str | None:
    """Return the mode in brackets in /sys/kernel/security/lockdown."""
    if text is None or "[" not in text:
        return None
    return text.split("[", 1)[1].split("]", 1)[0]


def _has_bcc() -> bool:
    with find_bcc():
        spec = importlib.util.find_spec("bcc")
    # PyPI's `bcc` is another thing: the kernel's has a binding to libbcc.
    places = (spec.submodule_search_locations or ()) if spec else ()
    return any(Path(place, "libbcc.py").exists() for place in places)


def _has_headers(host: Host, release: str) -> bool:
    # A link that leads nowhere is no headers, so ask for a file below it.
    return bool(host.glob(f"/lib/modules/{release}/build/Makefile"))


def _lab_kernels(host: Host) -> tuple[str, ...]:
    found = (path.removeprefix("/boot/vmlinuz-") for path in host.glob("/boot/vmlinuz-*"))
    return tuple(release for release in found if _has_modules(host, release))


def _has_modules(host: Host, release: str) -> bool:
    folder = f"/lib/modules/{release}"
    listed = "".join(
        _text(host, f"{folder}/{name}") or "" for name in ("modules.dep", "modules.builtin")
    )
    return all(f"/{module}.ko" in listed for module in _LAB_MODULES)


def _tracepoints(host: Host) -> bool | None:
    for folder in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing"):
        if host.glob(f"{folder}/events/irq"):
            return bool(host.glob(f"{folder}/events/irq/irq_handler_entry"))
    return None


def _which(name: str) -> str | None:
    # sshd and qemu may be outside a user's PATH; vng lies beside the interpreter.
    places = (os.environ.get("PATH", ""), "/usr/sbin", "/sbin", str(Path(sys.executable).parent))
    return shutil.which(name, path=os.pathsep.join(places))


def _text(host: Host, path: str) -> str | None:
    try:
        return host.read(path)
    except (SourceMissing, SourceRefused):
        return None
