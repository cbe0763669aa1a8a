"""The doors to a machine. No other module opens a kernel file or starts a process for one.

`Host` is what the read-only half is given: it can read, list and resolve links, and nothing
else. `LiveHost` serves `/` or a recorded tree; `RecordedHost` serves texts held in memory
(an archive, or what was fetched over SSH). `WritableHost` is asked for by `tune` and `lvs`,
and by the probe that counts in tracefs.
"""

import errno
import fnmatch
import glob
import os
import re
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol, TypeAlias

from dirtune.errors import ApplyError, NotPossible, SourceMissing, SourceRefused, require_files
from dirtune.reading import read_bytes
from dirtune.writing import sync

_KEPT = {"system.posix_acl_access", "security.selinux"}
_Folder: TypeAlias = "dict[str, _Folder]"
_MOST_LINKS = 40  # as many as Linux follows
_LARGEST_BYTES = 32 << 20
"""Limit of a kernel file; /proc/interrupts of 1152 CPUs is 25 MB."""
WIDEST = 4
"""Bytes in memory of one of a file, once it is text: of `\\xff`, and of all beside one emoji."""
_LARGEST_TREE = 256 << 20
"""Limit of all that is read of a recorded tree; a sparse file costs its sender nothing."""
_WILDCARD = re.compile(r"[*?[]")
_PARTING = re.compile(r"\r(?!\n)|[^\S \t\n\r]")
_ASCII_PARTING = "\r\x0b\x0c\x1c\x1d\x1e\x1f"


class Host(Protocol):
    """A machine opened for reading, live or recorded."""

    def read(self, path: str) -> str:
        """Return the text of *path*; `SourceMissing` or `SourceRefused` if there is none."""
        ...

    def glob(self, pattern: str) -> tuple[str, ...]:
        """Return the absolute paths that match the shell *pattern*, sorted."""
        ...

    def link(self, path: str) -> str:
        """Return the target of the symbolic link *path*, as written."""
        ...

    def mode(self, path: str) -> int | None:
        """Return the permission bits of *path*, None if it is absent or the record is silent."""
        ...

    def monotonic(self) -> float | None:
        """Return the host's clock in seconds, None if the record does not say."""
        ...


class LiveHost:
    """This machine (`/`), or a directory tree recorded from another."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._real: dict[str, str] = {}
        """Folders of a recorded tree with their links followed, by their paths."""
        self._left = _LARGEST_TREE

    @property
    def here(self) -> bool:
        """Whether it is this machine."""
        return self._root == Path("/")

    def read(self, path: str) -> str:
        """Return the text of *path*."""
        try:
            data = read_bytes(self._file(path), min(_LARGEST_BYTES, max(0, self._left)))
        except (FileNotFoundError, NotADirectoryError, ProcessLookupError) as error:
            raise SourceMissing(f"{path}: not on this host") from error
        except OSError as error:
            require_files(error)
            raise SourceRefused(f"{path}: {error.strerror}") from error
        if not self.here:
            self._left -= len(data) * (1 if data.isascii() else WIDEST)
        return readable(data)

    def glob(self, pattern: str) -> tuple[str, ...]:
        """Return the paths that match *pattern*, as this host names them.

        What is gone again by the time it is looked at is not there, on every Python.
        """
        found = [""]
        for part in pattern.split("/")[1:]:
            wild = _WILDCARD.search(part)
            found = [
                f"{folder}/{name}"
                for folder in found
                for name in (fnmatch.filter(self._names(folder), part) if wild else (part,))
            ]
        return tuple(sorted(path for path in found if os.path.lexists(self._at(path))))

    def link(self, path: str) -> str:
        """Return the target of the symbolic link *path*."""
        try:
            return str(self._at(path).readlink())
        except OSError as error:
            raise SourceMissing(f"{path}: not a link on this host") from error

    def mode(self, path: str) -> int | None:
        """Return the permission bits of *path*; a recorded tree's own bits mean nothing."""
        if not self.here:
            return None
        try:
            return stat.S_IMODE(self._file(path).stat().st_mode)
        except OSError:
            return None

    def monotonic(self) -> float | None:
        """Return this machine's clock; a recorded tree is one moment without a clock."""
        return time.monotonic() if self.here else None

    def _at(self, path: str) -> Path:
        """Return where *path* is; links on the way to it are followed within the root."""
        if self.here:
            return self._root / path.lstrip("/")
        folder, _, name = path.rpartition("/")
        if folder not in self._real:
            self._real[folder] = followed(folder, self._target)
        return Path(f"{self._root}{self._real[folder]}/{name}")

    def _file(self, path: str) -> Path:
        """Return where the content of *path* is, which may itself be a link."""
        at = self._at(path)
        if self.here or not at.is_symlink():
            return at
        return self._root / followed(path, self._target).lstrip("/")

    def _target(self, path: str) -> str | None:
        try:
            return str((self._root / path.lstrip("/")).readlink())
        except OSError:
            return None

    def _names(self, folder: str) -> list[str]:
        try:
            return [entry.name for entry in os.scandir(self._file(folder or "/"))]
        except OSError as error:
            require_files(error)
            return []


def readable(data: bytes) -> str:
    r"""Return *data* as text.

    Kernel text is ASCII in practice; a stray byte must not lose the whole of it, and keeps its
    value as `\xff`.
    """
    return data.decode("utf-8", "backslashreplace")


def literal(path: str) -> str:
    """Return the pattern for `Host.glob` of *path* alone; a name may hold what is a wildcard."""
    return glob.escape(path)


def recorded_text(text: str) -> str:
    """Return *text* as a record holds it: blanks, tabs and newlines alone part words and rows.

    Python parts them at more characters, which a name on a machine may hold; each is its escape.
    """
    if text.isascii() and not any(character in text for character in _ASCII_PARTING):
        return text  # nearly every text, and quicker than to look for each
    return _PARTING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def recorded_path(path: str) -> str:
    """Return a path of this machine as a record holds it, spelled as texts spell its names."""
    return recorded_text(readable(os.fsencode(path)))


def followed(path: str, target: Callable[[str], str | None]) -> str:
    """Return *path* with every link in it followed, absolute ones from the top.

    *target* is what a path without links leads to, None if it is no link itself. `SourceRefused`
    names a link that leads above the top, or in a circle.
    """
    done: list[str] = []
    ahead, link, hops = path.split("/")[::-1], path, 0
    while ahead:
        part = ahead.pop()
        if part == ".." and not done:
            raise SourceRefused(f"{link}: the link leads out of the recorded tree")
        if part == "..":
            done.pop()
        elif part not in {"", "."}:
            at = "/".join(("", *done, part))
            to = target(at)
            if to is None:
                done.append(part)
                continue
            link, hops = at, hops + 1
            if hops > _MOST_LINKS:
                raise SourceRefused(f"{link}: the link leads in a circle")
            done = [] if to.startswith("/") else done
            ahead += to.split("/")[::-1]
    return "/" + "/".join(done)


@dataclass(frozen=True)
class RecordedHost:
    """One sample of another machine, held in memory."""

    files: Mapping[str, str]
    links: Mapping[str, str]
    refused: frozenset[str] = frozenset()
    """Files that were there and could not be read."""
    taken_s: float | None = None
    modes: Mapping[str, int] = field(default_factory=dict)
    """Permission bits of the files where they say something."""

    def read(self, path: str) -> str:
        """Return the recorded text of *path*."""
        if path in self.refused:
            raise SourceRefused(f"{path}: could not be read when the host was recorded")
        try:
            return self.files[path]
        except KeyError as error:
            raise SourceMissing(f"{path}: not in the record") from error

    def glob(self, pattern: str) -> tuple[str, ...]:
        """Return the recorded paths and folders that match *pattern*, directory by directory."""
        found = {"": self._tree}
        for part in pattern.split("/")[1:]:
            found = {
                f"{path}/{name}": folder[name]
                for path, folder in found.items()
                for name in _matching(folder, part)
            }
        return tuple(sorted(found))

    def link(self, path: str) -> str:
        """Return the recorded target of *path*."""
        try:
            return self.links[path]
        except KeyError as error:
            raise SourceMissing(f"{path}: no such link in the record") from error

    def mode(self, path: str) -> int | None:
        """Return the recorded permission bits of *path*."""
        return self.modes.get(path)

    def monotonic(self) -> float | None:
        """Return the time of the record on its own host's clock."""
        return self.taken_s

    @cached_property
    def _tree(self) -> _Folder:
        """Every path of the record; a file is a folder without anything in it."""
        top: _Folder = {}
        for path in (*self.files, *self.links):
            folder = top
            for part in path.split("/")[1:]:
                folder = folder.setdefault(part, {})
        return top


def _matching(folder: _Folder, part: str) -> Iterable[str]:
    """Return the names in *folder* that one part of a shell pattern matches."""
    if not _WILDCARD.search(part):
        return (part,) if part in folder else ()
    return fnmatch.filter(folder, part)


@dataclass(frozen=True, slots=True)
class FileContents:
    """A file as it was, to the byte."""

    data: bytes
    mode: int
    """Permission bits."""
    uid: int
    gid: int


class WritableHost(LiveHost):
    """This machine, opened for changes as well."""

    def write(self, path: str, value: str) -> None:
        """Write *value* to *path* in one write, as kernel files want it."""
        try:
            with self._file(path).open("w", encoding="utf-8") as file:
                file.write(value)
        except OSError as error:
            raise ApplyError(f"{path}: {error.strerror}") from error

    def contents(self, path: str) -> FileContents | None:
        """Return the file *path* to the byte, None if there is none."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            with open(os.open(self._at(path), flags), "rb") as file:  # noqa: PTH123  (a descriptor)
                now = os.fstat(file.fileno())
                if not stat.S_ISREG(now.st_mode):
                    raise ApplyError(f"{path}: is not a regular file; put it elsewhere first")
                return FileContents(file.read(), stat.S_IMODE(now.st_mode), now.st_uid, now.st_gid)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                link = f"{path}: is a symbolic link; change the file it leads to instead"
                raise ApplyError(link) from error
            raise ApplyError(f"{path}: {error.strerror}") from error

    def replace(self, path: str, contents: FileContents) -> None:
        """Put *contents* in place of the file *path* at once, and onto the disk.

        Nobody can read them before it is there whom its mode does not let.
        """
        at = self._at(path)
        beside = _beside(at)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            beside.unlink(missing_ok=True)  # what one that was killed left
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
        """Run *argv* on this host and return what it printed."""
        if not self.here:
            raise NotPossible(f"{argv[0]}: no command can be run on a recorded host")
        return run(argv, timeout_s=timeout_s)

    def make_folder(self, path: str) -> None:
        """Make the folder *path*, which must not be there."""
        try:
            self._at(path).mkdir(0o755)
        except OSError as error:
            raise ApplyError(f"{path}: {error.strerror}") from error

    def remove_folder(self, path: str) -> None:
        """Remove the folder *path*; in the kernel's file systems its files go with it."""
        try:
            self._at(path).rmdir()
        except OSError as error:
            raise ApplyError(f"{path}: {error.strerror}") from error

    def remove(self, path: str) -> None:
        """Remove the file *path*; it is no error if it is gone already."""
        at = self._at(path)
        try:
            _beside(at).unlink(missing_ok=True)  # what a `replace` that was killed left
            at.unlink(missing_ok=True)
        except OSError as error:
            raise ApplyError(f"{path}: {error.strerror}") from error


def _beside(at: Path) -> Path:
    # Dotted, and no .cfg at its end: the readers of drop-in folders must never take it.
    return at.with_name(f".{at.name}.dirtune-new")


def _copy_attributes(at: Path, descriptor: int) -> None:
    """Give the new file the access list and the SELinux label of the one that it replaces."""
    with suppress(FileNotFoundError):
        for name in _KEPT & set(os.listxattr(at, follow_symlinks=False)):
            os.setxattr(descriptor, name, os.getxattr(at, name, follow_symlinks=False))


def run(argv: Sequence[str], *, timeout_s: float = 60, check: bool = True) -> str:
    """Run *argv* here and return its standard output; `NotPossible` names what failed."""
    try:
        done = _alone(argv, timeout_s)
    except FileNotFoundError as error:
        raise NotPossible(f"{argv[0]}: command not found") from error
    except subprocess.TimeoutExpired as error:
        raise NotPossible(f"{' '.join(argv)}: no answer in {timeout_s:g} s") from error
    except OSError as error:  # not executable, of another machine, too many processes
        require_files(error)
        raise NotPossible(f"{argv[0]}: cannot be started: {error.strerror}") from error
    if check and done.returncode:
        said = readable(done.stderr or done.stdout).strip().splitlines()
        raise NotPossible(f"{' '.join(argv)}: {said[-1] if said else done.returncode}")
    return readable(done.stdout)


def _alone(argv: Sequence[str], timeout_s: float) -> "subprocess.CompletedProcess[bytes]":
    """Run *argv* in a group of its own: what a terminal sends to all of its own is ours to obey.

    A Ctrl-C in the middle of an undo would end the command that undoes. Where it is given up, so
    is all that it started.
    """
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,
    ) as process:
        try:
            out, err = process.communicate(timeout=timeout_s)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
        return subprocess.CompletedProcess(argv, process.returncode, out, err)
