"""Access to this machine for changing files, folders and kernel files, and running commands."""

import errno
import os
import signal
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dirtune.errors import ApplyError, NotPossible
from dirtune.host.command import run
from dirtune.host.live import LiveHost
from dirtune.writing import sync

_KEPT = {"system.posix_acl_access", "security.selinux"}
"""Extended attributes that a new file inherits from the file that it replaces."""


@dataclass(frozen=True, slots=True)
class FileContents:
    """The exact contents of a file, its permission bits and its owner."""

    data: bytes
    mode: int
    """Permission bits."""
    uid: int
    gid: int


class WritableHost(LiveHost):
    """This machine, with access for reading and for changes."""

    def write(self, path: str, value: str) -> None:
        """Write *value* to *path* in a single system call, because kernel files require that."""
        try:
            with self._file(path).open("w", encoding="utf-8") as file:
                file.write(value)
        except OSError as error:
            raise ApplyError(f"{path}: {error.strerror}") from error

    def contents(self, path: str) -> FileContents | None:
        """Return the exact contents of the file *path*; None if the file does not exist.

        Raises `ApplyError` if *path* is not a regular file or cannot be read.
        """
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            with open(os.open(self._at(path), flags), "rb") as file:  # noqa: PTH123  (a descriptor)
                now = os.fstat(file.fileno())
                if not stat.S_ISREG(now.st_mode):
                    raise ApplyError(f"{path} is not a regular file. Move it elsewhere first.")
                return FileContents(file.read(), stat.S_IMODE(now.st_mode), now.st_uid, now.st_gid)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                why = "is a symbolic link, which dirtune does not follow. Remove it"
                raise ApplyError(f"{path} {why}.") from error
            raise ApplyError(f"{path}: {error.strerror}") from error

    def new_contents(self, data: bytes, mode: int) -> FileContents:
        """Return the contents of a new file that this process's user owns."""
        return FileContents(data, mode, os.geteuid(), os.getegid())

    def replace(self, path: str, contents: FileContents) -> None:
        """Replace the file *path* atomically with *contents*, and sync it to the disk.

        Until the new file is complete, only its owner can read it.
        """
        at = self._at(path)
        beside = _beside(at)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            beside.unlink(missing_ok=True)  # left by a killed process
            with open(os.open(beside, flags, 0o600), "wb") as file:  # noqa: PTH123  (a descriptor)
                file.write(contents.data)
                os.fchown(file.fileno(), contents.uid, contents.gid)
                _copy_attributes(at, file.fileno())
                os.fchmod(file.fileno(), contents.mode)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(at)
            sync(at.parent)
        except OSError as error:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            raise ApplyError(f"{path}: {error.strerror}") from error

    def run(self, argv: Sequence[str], *, timeout_s: float = 300) -> str:
        """Run *argv* on this host and return its standard output."""
        if not self.here:
            raise NotPossible(f"{argv[0]}: a recorded host cannot run commands")
        return run(argv, timeout_s=timeout_s)

    def hang_up(self, pid: int, still: Callable[[], bool]) -> None:
        """Send SIGHUP to process *pid* if *still* returns that it is the process that is meant.

        Raises `NotPossible` if it is not, or has ended.
        """
        if not self.here:
            raise NotPossible("SIGHUP: a recorded host has no processes")
        try:
            process = os.pidfd_open(pid)
        except OSError as error:
            raise NotPossible(f"process {pid}: {error.strerror}") from error
        try:
            # Once it is open, no later process can get the signal.
            if not still():
                raise NotPossible(f"process {pid} has ended")
            signal.pidfd_send_signal(process, signal.SIGHUP)
        except OSError as error:
            raise NotPossible(f"process {pid}: {error.strerror}") from error
        finally:
            os.close(process)

    def make_folder(self, path: str) -> None:
        """Create the folder *path*, which must not exist yet."""
        try:
            self._at(path).mkdir(0o755)
        except OSError as error:
            raise ApplyError(f"{path}: {error.strerror}") from error

    def remove_folder(self, path: str) -> None:
        """Remove the folder *path*, which must be empty.

        In the kernel's file systems, such as tracefs, a folder may still contain kernel files.
        """
        try:
            self._at(path).rmdir()
        except OSError as error:
            raise ApplyError(f"{path}: {error.strerror}") from error

    def remove(self, path: str) -> None:
        """Remove the file *path* if it exists."""
        at = self._at(path)
        try:
            _beside(at).unlink(missing_ok=True)  # left by a killed `replace`
            at.unlink(missing_ok=True)
        except OSError as error:
            raise ApplyError(f"{path}: {error.strerror}") from error


def _beside(at: Path) -> Path:
    # A leading dot and no .cfg or .conf ending keep programs from reading it in drop-in folders.
    return at.with_name(f".{at.name}.dirtune-new")


def _copy_attributes(at: Path, descriptor: int) -> None:
    """Copy ACL and SELinux label of the file *at*, if it exists, to the open file *descriptor*."""
    with suppress(FileNotFoundError):
        for name in _KEPT & set(os.listxattr(at, follow_symlinks=False)):
            os.setxattr(descriptor, name, os.getxattr(at, name, follow_symlinks=False))
