"""Facts about this machine and this user that decide which features of dirtune work here.

The facts concern commands, Python modules, kernels and rights. Collecting them imports no module,
loads no kernel module and starts no process.
"""

import ctypes
import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from dirtune.collect.os_release import read_os_release
from dirtune.errors import SourceMissing, SourceRefused
from dirtune.host import Host, literal

# Folders of the distributions' own Python modules; bcc is only there, not on PyPI. It is Python
# without compiled parts, so any version of Python can import it.
_DISTRIBUTION = (
    "usr/lib/python3/dist-packages",
    "usr/lib*/python3*/site-packages",
    "usr/local/lib*/python3*/*-packages",
)
# sshd and qemu may be outside a user's PATH; virtme-run is next to the interpreter.
_FOLDERS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LIBBPF = "libbpf.so.1"
COMMANDS = (
    "unshare",
    "nsenter",
    "ip",
    "ssh",
    "ssh-keygen",
    "sshd",
    "nc",
    "nginx",
    "h2load",
    "ipvsadm",
    "qemu-system-x86_64",
    "busybox",
    "zstd",
    "modprobe",
)
"""The lab needs all of these commands, other features need some."""
VIRTME = "virtme-run"
"""The command that boots the lab's director; it comes with a Python package."""
LAB_FREE_MIB = 512
LAB_MODULES = ("ip_vs", "e1000", "sym53c8xx")
"""Modules, loadable or built in, that a kernel needs to run the director of the lab."""
# Tracepoints that the probes are attached to.
_EVENTS = (
    "irq/irq_handler_entry",
    "irq/softirq_entry",
    "lock/contention_begin",
    "napi/napi_poll",
    "skb/kfree_skb",
)
_TRACEFS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
# perf got kprobes and uprobes in the same release, so uprobes alone mean no kprobes.
_KPROBE, _UPROBE = (f"/sys/bus/event_source/devices/{kind}probe" for kind in "ku")
# CAP_SYS_ADMIN, and CAP_PERFMON with CAP_BPF, in include/uapi/linux/capability.h.
_SYS_ADMIN, _BPF = 1 << 21, 1 << 38 | 1 << 39
_MODULES = ("altair", "jinja2", "scipy", "vl_convert")


class Facts(msgspec.Struct, frozen=True):
    """Facts about this machine; a fact is None if this process cannot determine it."""

    root: bool
    bpf: bool
    """Whether this process has the capabilities to load and attach BPF programs."""
    release: str
    """Release of the running kernel."""
    proc_readable: bool
    """Whether /proc/interrupts can be read."""
    os_release: str
    """The text of os-release(5), which names the distribution; empty if it is missing."""
    libbpf: bool
    """Whether libbpf 1.0 or newer is installed."""
    bcc: bool
    headers: bool
    """Whether the headers of the running kernel, or the kernel's own copy of them, exist."""
    tracefs: str | None
    """The mount point of tracefs; None if this process sees none."""
    tracefs_writable: bool
    """Whether an instance can be created in tracefs."""
    events: frozenset[str] | None
    """The probes' tracepoints (`group/name`) that this kernel has; None without tracefs."""
    hist_triggers: bool | None
    """Whether triggers can count events (CONFIG_HIST_TRIGGERS); None without tracefs."""
    kprobes: bool | None
    """Whether the kernel has kprobes; None if neither tracefs nor perf's event sources exist."""
    btf: bool
    """Whether the kernel contains its own type information (BTF)."""
    perf_events: bool
    ip_vs: bool
    """Whether IPVS is loaded or built in."""
    ip_vs_types: bool
    """Whether the kernel contains the type information of IPVS."""
    lockdown: str | None
    """Mode of the lockdown security module; None without the module."""
    commands: frozenset[str]
    """Installed commands among `COMMANDS` and virtme-run, in PATH or next to the interpreter."""
    modules: frozenset[str]
    """Optional Python modules that can be imported."""
    python: str
    """Path of the running interpreter, for which the remedies install packages."""
    lab_kernels: tuple[str, ...]
    """Kernel releases that the lab's director can run, newest first."""
    lab_headers: tuple[str, ...]
    """Kernel releases of `lab_kernels` whose headers are installed."""
    tun: bool
    """Whether /dev/net/tun, which tap devices need, exists."""
    lab_parent: str
    """The nearest existing folder above the lab's folder."""
    lab_free_mib: int
    """Free space in `lab_parent`."""


def read_facts(host: Host) -> Facts:
    """Collect the facts about *host*, which is this machine, and the running interpreter."""
    release = os.uname().release
    kernels = lab_kernels(host)
    parent = _nearest(lab_folder())
    tracefs = next((at for at in _TRACEFS if host.glob(f"{at}/events")), None)
    return Facts(
        root=os.geteuid() == 0,
        bpf=parse_may_load_bpf(_text(host, "/proc/self/status") or ""),
        release=release,
        proc_readable=_text(host, "/proc/interrupts") is not None,
        os_release=read_os_release(host) or "",
        libbpf=_has_libbpf(),
        bcc=_has_bcc(),
        headers=_has_headers(host, release) or bool(host.glob("/sys/kernel/kheaders.tar.xz")),
        tracefs=tracefs,
        # Root ignores permission bits, but cannot write to a read-only mount.
        tracefs_writable=tracefs is not None and os.access(f"{tracefs}/instances", os.W_OK),
        events=_events(host, tracefs),
        hist_triggers=_in_tracefs(host, tracefs, "events/irq/irq_handler_entry/hist"),
        kprobes=_kprobes(host, tracefs),
        btf=bool(host.glob("/sys/kernel/btf/vmlinux")),
        perf_events=bool(host.glob("/proc/sys/kernel/perf_event_paranoid")),
        ip_vs=bool(host.glob("/proc/net/ip_vs")),
        # A module has a state; what is built in has its types in those of the kernel.
        ip_vs_types=bool(
            host.glob(
                "/sys/kernel/btf/ip_vs"
                if host.glob("/sys/module/ip_vs/initstate")
                else "/sys/kernel/btf/vmlinux"
            )
        ),
        lockdown=parse_lockdown(_text(host, "/sys/kernel/security/lockdown")),
        commands=frozenset(name for name in (*COMMANDS, VIRTME) if _which(name)),
        modules=frozenset(name for name in _MODULES if importlib.util.find_spec(name)),
        python=sys.executable,
        lab_kernels=kernels,
        lab_headers=tuple(kernel for kernel in kernels if _has_headers(host, kernel)),
        tun=bool(host.glob("/dev/net/tun")),
        lab_parent=str(parent),
        lab_free_mib=shutil.disk_usage(parent).free // 2**20,
    )


def lab_folder() -> Path:
    """Return the folder that the lab of this machine uses, whether or not it exists."""
    return Path(os.environ.get("DIRTUNE_LAB", "/var/lib/dirtune-lab"))


def lab_kernels(host: Host) -> tuple[str, ...]:
    """Return the kernel releases that have an image in /boot and all modules the lab needs.

    The newest comes first.
    """
    found = (path.removeprefix("/boot/vmlinuz-") for path in host.glob("/boot/vmlinuz-*"))
    # A cloud kernel lacks the drivers of the lab's devices.
    fit = (name for name in found if "-cloud-" not in name and _has_modules(host, name))
    return tuple(sorted(fit, key=_version, reverse=True))


def lab_kernel(kernels: Iterable[str], kind: str) -> str | None:
    """Return the newest release of *kind* among *kernels*, which are sorted newest first.

    *kind* is `standard` or `rt` (PREEMPT_RT).
    """
    return next((name for name in kernels if ("-rt-" in name) == (kind == "rt")), None)


@contextmanager
def find_bcc() -> Iterator[None]:
    """Make `import bcc` find the distribution's module, also in a virtual environment."""
    if importlib.util.find_spec("bcc") is not None:
        yield
        return
    before = sys.path[:]
    sys.path += distribution_folders(Path("/"))
    try:
        yield
    finally:
        sys.path[:] = before


def distribution_folders(root: Path) -> list[str]:
    """Return the folders below *root* that may hold the distribution's module bcc."""
    paths = (path for pattern in _DISTRIBUTION for path in sorted(root.glob(pattern)))
    return [str(path) for path in paths if (path / "bcc").is_dir()]


def parse_may_load_bpf(text: str) -> bool:
    """Return whether the process of a /proc/PID/status may load and attach BPF programs.

    It needs CAP_SYS_ADMIN, or from Linux 5.8 on CAP_BPF and CAP_PERFMON.
    """
    row = re.search(r"^CapEff:\s*([0-9a-f]{1,16})$", text, re.MULTILINE)
    effective = int(row[1], 16) if row else 0
    return bool(effective & _SYS_ADMIN) or effective & _BPF == _BPF


def parse_lockdown(text: str | None) -> str | None:
    """Return the mode in brackets in the text of /sys/kernel/security/lockdown."""
    if text is None or "[" not in text:
        return None
    return text.split("[", 1)[1].split("]", 1)[0]


def _has_libbpf() -> bool:
    try:
        ctypes.CDLL(_LIBBPF)
    except OSError:
        return False
    return True


def _has_bcc() -> bool:
    with find_bcc():
        spec = importlib.util.find_spec("bcc")
    # PyPI's `bcc` is a different package; only the wanted one has a binding to libbcc.
    places = (spec.submodule_search_locations or ()) if spec else ()
    return any(Path(place, "libbcc.py").exists() for place in places)


def _has_headers(host: Host, release: str) -> bool:
    # `build` may be a dangling link, so look for a file below it.
    return bool(host.glob(literal(f"/lib/modules/{release}/build/Makefile")))


def _version(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", release))


def _nearest(folder: Path) -> Path:
    here = folder.absolute()
    return next(path for path in here.parents if os.access(path, os.F_OK))


def _has_modules(host: Host, release: str) -> bool:
    folder = f"/lib/modules/{release}"
    listed = "".join(
        _text(host, f"{folder}/{name}") or "" for name in ("modules.dep", "modules.builtin")
    )
    return all(f"/{module}.ko" in listed for module in LAB_MODULES)


def _events(host: Host, tracefs: str | None) -> frozenset[str] | None:
    if tracefs is None:
        return None
    return frozenset(name for name in _EVENTS if host.glob(f"{tracefs}/events/{name}"))


def _in_tracefs(host: Host, tracefs: str | None, path: str) -> bool | None:
    return None if tracefs is None else bool(host.glob(f"{tracefs}/{path}"))


def _kprobes(host: Host, tracefs: str | None) -> bool | None:
    if host.glob(_KPROBE):
        return True
    return False if host.glob(_UPROBE) else _in_tracefs(host, tracefs, "kprobe_events")


def _which(name: str) -> str | None:
    places = (os.environ.get("PATH", ""), _FOLDERS, str(Path(sys.executable).parent))
    return shutil.which(name, path=os.pathsep.join(places))


def _text(host: Host, path: str) -> str | None:
    try:
        return host.read(path)
    except (SourceMissing, SourceRefused):
        return None
