"""Other network namespaces of this machine: enter one, or read a file of /proc/net in one.

`enter` does what `ip netns exec` does: it changes the network namespace of this process, and
mounts a /sys with the interfaces of that namespace, in a mount namespace of its own. Interrupts
and CPUs are the host's in every namespace. The mounts below /sys, such as tracefs, are kept.
"""

import ctypes
import errno
import fcntl
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path

from dirtune import reading
from dirtune.errors import NotPossible, require_files
from dirtune.host.texts import readable
from dirtune.nearest import no_such

FOLDERS = ("/run/netns", "/var/run/netns", "/run/docker/netns", "/var/run/docker/netns")
"""The folders in which ip-netns(8) and Docker mount network namespaces."""
_NAME = re.compile(r"[\w.@:-]{1,255}", re.ASCII)
_CLONE_NEWNS, _CLONE_NEWNET = 0x20000, 0x40000000
_ANY_SIZE = 1 << 62
_NS_GET_NSTYPE = 0xB703  # ioctl_nsfs(2)
_MS_BIND, _MS_REC, _MS_SLAVE = 0x1000, 0x4000, 0x80000
_MOST_NAMESPACES, _MOST_PROCESSES = 256, 20_000


def enter(name: str) -> None:
    """Move this process to the network namespace *name*: a name, a process id or a path.

    Raises `NotPossible` if there is no such namespace, or if this user may not enter it. Call this
    before any other thread runs.
    """
    descriptor = _opened(name)
    try:
        _call("setns", descriptor, _CLONE_NEWNET)
        _call("unshare", _CLONE_NEWNS)
        # A mount here must not appear in the namespace of the others.
        _call("mount", b"none", b"/", None, _MS_REC | _MS_SLAVE, None)
        _mount_sys()
    except OSError as error:
        remedy = ". Run as root" if error.errno == errno.EPERM else ""
        raise NotPossible(f"--netns {name}: {error.strerror}{remedy}.") from error
    finally:
        os.close(descriptor)


def read_in(path: str, name: str, most: int) -> str | None:
    """Return the first *most* bytes of /proc/net/*name* in the namespace of the file *path*.

    The result is None if the namespace cannot be entered or lacks the file. A thread enters the
    namespace and ends, so this process stays where it is.
    """
    texts: list[str] = []

    def read() -> None:
        with suppress(OSError, NotPossible):
            descriptor = _opened(path)
            try:
                _call("setns", descriptor, _CLONE_NEWNET)
            finally:
                os.close(descriptor)
            with Path(f"/proc/thread-self/net/{name}").open("rb") as file:
                texts.append(readable(file.read(most)))

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    return texts[0] if texts else None


def others() -> Mapping[str, str]:
    """Return the paths of the network namespaces of this machine, except this process's own.

    The keys are what `--netns` accepts: the name of a namespace, or the id of a process in it.
    """
    seen = {_identity("/proc/self/ns/net")}
    namespaces: dict[str, str] = {}
    for name, path in (*_named(), *_of_processes()):
        identity = _identity(path)
        if identity is None or identity in seen or len(namespaces) >= _MOST_NAMESPACES:
            continue
        seen.add(identity)
        namespaces[name] = path
    return namespaces


def _named() -> Iterator[tuple[str, str]]:
    for folder in FOLDERS:
        with suppress(OSError):
            names = islice((entry.name for entry in os.scandir(folder)), _MOST_NAMESPACES)
            for name in sorted(names):
                if _NAME.fullmatch(name) and not name.isdecimal():
                    yield name, f"{folder}/{name}"


def _of_processes() -> Iterator[tuple[str, str]]:
    with os.scandir("/proc") as entries:
        processes = list(islice((e for e in entries if e.name.isdecimal()), _MOST_PROCESSES))
    # Any user can make namespaces, and with thousands of them hide those of root.
    for process in sorted(processes, key=_is_of_a_user):
        yield process.name, f"/proc/{process.name}/ns/net"


def _is_of_a_user(process: "os.DirEntry[str]") -> bool:
    try:
        return process.stat().st_uid != 0
    except OSError:  # it has ended
        return True


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116  (thousands of processes; a str costs half as much)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _opened(name: str) -> int:
    """Open the network namespace *name* and return its descriptor."""
    try:
        # A regular file only: opening a device may have an effect, and a FIFO would block.
        descriptor = reading.open_regular(_path(name), _ANY_SIZE)
    except OSError as error:
        require_files(error)
        raise NotPossible(f"--netns {name}: {error.strerror}.") from error
    try:
        kind = fcntl.ioctl(descriptor, _NS_GET_NSTYPE)
    except OSError:
        kind = 0
    if kind != _CLONE_NEWNET:
        os.close(descriptor)
        raise NotPossible(f"--netns {name} is not a network namespace.")
    return descriptor


def _path(name: str) -> str:
    if name.startswith("/"):
        return name
    if name.isdecimal() and name.isascii():
        return f"/proc/{name}/ns/net"
    paths = [f"{folder}/{name}" for folder in FOLDERS if _NAME.fullmatch(name)]
    path = next(filter(reading.exists, paths), None)
    if path is None or name in {".", ".."}:
        remedy = "Give a name that `ip netns` lists, a process id or a path"
        raise NotPossible(no_such("network namespace", name, dict(_named()), remedy))
    return path


def _mount_sys() -> None:
    """Mount a new /sys, which shows the interfaces of this network namespace."""
    below = _mounts_below_sys()
    kept = []
    try:
        for path in below:
            with suppress(OSError):
                kept.append((os.open(path, os.O_PATH | os.O_CLOEXEC), path))
        _call("mount", b"sysfs", b"/sys", b"sysfs", 0, None)
        for descriptor, path in kept:
            with suppress(OSError):  # a kernel object that only the other namespace has
                source = f"/proc/self/fd/{descriptor}".encode()
                _call("mount", source, os.fsencode(path), None, _MS_BIND | _MS_REC, None)
    finally:
        for descriptor, _ in kept:
            os.close(descriptor)


def _mounts_below_sys() -> tuple[str, ...]:
    """Return the mounts below /sys, without those that are below another one of them."""
    rows = Path("/proc/self/mounts").read_bytes().splitlines()
    # Nobody but the kernel makes names in /sys, so none has an escaped character.
    paths = sorted({os.fsdecode(row.split(b" ")[1]) for row in rows})
    below = [path for path in paths if path.startswith("/sys/")]
    return tuple(p for p in below if not any(p.startswith(f"{other}/") for other in below))


def _call(name: str, *arguments: object) -> None:
    """Call a function of the C library; raises OSError if it fails."""
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
