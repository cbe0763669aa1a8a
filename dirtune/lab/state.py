"""Read and write the state of a lab in its folder, which `$DIRTUNE_LAB` names.

The default is `/var/lib/dirtune-lab`. The folder must not be below `/var/lib/dirtune`, because
every node of the lab has its own copy of that folder.
"""

import os
import shlex
import stat
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil

from dirtune import reading
from dirtune.change import private
from dirtune.collect.facts import lab_folder
from dirtune.errors import LabError, NotPossible
from dirtune.formats import from_json
from dirtune.lab.spec import Scenario, Spec
from dirtune.nearest import no_such


class Process(msgspec.Struct, frozen=True):
    """A process of this machine, identified by id and start time, because ids are reused."""

    pid: int
    started: float
    """Start time in seconds since the epoch, as psutil reports it; it moves with the clock."""
    start: str = ""
    """The boot and the clock ticks from the boot to the start; empty in an older record."""

    def alive(self) -> bool:
        """Return whether this process still runs.

        A new process with the same id does not count.
        """
        try:
            process = psutil.Process(self.pid)
            if self.start:
                same = _start(self.pid) == self.start
            else:
                same = abs(process.create_time() - self.started) < 1
            return same and process.status() != psutil.STATUS_ZOMBIE
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            return False


def process(pid: int) -> Process:
    """Return the running process with the id *pid*.

    Raises `psutil.NoSuchProcess` if it has ended.
    """
    return Process(pid, psutil.Process(pid).create_time(), _start(pid))


def _start(pid: int) -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    # The name, in brackets, may contain anything; the start is the 20th field after it (proc(5)).
    fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return f"{boot} {fields[19]}"


class Record(msgspec.Struct, frozen=True):
    """The processes that `dirtune lab up` started, recorded before the lab is built."""

    holder: Process
    """The unshare(1) process that made the namespaces; when it ends, every process in them
    ends."""
    keeper: Process
    """The keeper: the process that builds the lab and is pid 1 in its process namespace."""
    started: float
    """Start time of the lab in seconds since the epoch."""


class Boot(msgspec.Struct, frozen=True):
    """The last boot of a director."""

    ready: bool = False
    boots: int = 0
    """Number of this boot; the first is 1, and 0 means that QEMU has not started yet."""
    boot_s: float | None = None
    """Seconds from the start of QEMU until the director answered on SSH; None until then."""
    command_line: str | None = None
    """The kernel options of the boot, from the grub drop-ins of the director."""


class Status(Boot, frozen=True, kw_only=True):
    """The progress of the lab, as its keeper records it, and the last boot of its director.

    The lab is `ready` if all directors are.
    """

    phase: str
    error: str | None = None
    backup: Boot | None = None
    """The last boot of the second director; None if the lab has only one."""

    def boot_of(self, node: str) -> Boot:
        """Return the last boot of the director *node*."""
        return self.backup if node != "lb1" and self.backup else self


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder of a lab, and the paths in it."""

    path: Path

    @property
    def keys(self) -> Path:
        """The folder with the SSH keys, which were made for this lab only."""
        return self.path / "keys"

    @property
    def share(self) -> Path:
        """The folder with the director's files that survive a reboot, such as its copy of /etc.

        The folder of a second director is `node("lb2")`.
        """
        return self.path / "lb1"

    @property
    def opt(self) -> Path:
        """The folder that nodes mount as /opt, with dirtune and replacements for some commands."""
        return self.path / "opt"

    @property
    def ssh_config(self) -> Path:
        """The ssh_config that reaches the nodes."""
        return self.path / "ssh_config"

    @property
    def plan(self) -> Path:
        """The plan file of the lab."""
        return self.path / "plan.toml"

    def power_cut(self, director: str) -> Path:
        """Return the file that tells the keeper to boot *director* again after QEMU was killed."""
        return self.path / f"power-cut-{director}"

    def console(self, director: str) -> Path:
        """Return the file with the console output of *director*."""
        return self.path / f"console{_suffix(director)}.log"

    def monitor(self, director: str) -> Path:
        """Return the socket of the QEMU monitor of *director*."""
        return self.path / f"qmp{_suffix(director)}.sock"

    def script(self, director: str) -> Path:
        """Return the boot script of *director*, which the guest cannot change."""
        return self.path / f"director{_suffix(director)}.sh"

    def node(self, name: str) -> Path:
        """Return the folder with the files of the node *name*."""
        return self.path / name

    def spec(self) -> Spec:
        """Return the options of the lab, read from its folder."""
        path = self.path / "spec.json"
        try:
            return from_json(path.read_bytes(), Spec)
        except msgspec.DecodeError as error:
            raise LabError(
                f"Cannot read {path}: {error}. Use the version of dirtune that made this lab."
            ) from error

    def record(self) -> Record | None:
        """Return the processes that `dirtune lab up` started; None if none are recorded."""
        try:
            return msgspec.json.decode((self.path / "lab.json").read_bytes(), type=Record)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def status(self) -> Status | None:
        """Return the progress of the lab; None if its keeper has not recorded any yet."""
        try:
            return msgspec.json.decode((self.path / "status.json").read_bytes(), type=Status)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def require_own(self) -> None:
        """Check that the folder contains nothing but a lab.

        Raises `LabError` otherwise.
        """
        try:
            names = {path.name for path in self.path.iterdir()}
        except FileNotFoundError:
            return
        except OSError as error:
            raise LabError(f"Cannot read {self.path}: {error.strerror}.") from error
        if not names <= {".spec.new"} and "spec.json" not in names:
            raise LabError(
                f"{self.path} contains {min(names)} and is not the folder of a lab. "
                "Set DIRTUNE_LAB to another folder."
            )

    def write(self, name: str, value: Spec | Record | Status) -> None:
        """Write *value* to the file NAME.json in one step, in place of the old file."""
        new = self.path / f".{name}.new"
        new.write_bytes(msgspec.json.encode(value))
        new.replace(self.path / f"{name}.json")


def _suffix(director: str) -> str:
    return "" if director == "lb1" else f"-{director}"


def folder() -> Folder:
    """Return the folder of the lab on this machine, which need not exist yet.

    Raises `LabError` if another user could replace the folder or write to it, because root
    executes files from it.
    """
    path = lab_folder().absolute()
    place = Folder(path)
    try:
        # Check only the part that exists; `dirtune lab up` checks again when it has made the rest.
        there = next(at for at in (path, *path.parents) if os.path.lexists(at))
        first = (path / "spec.json").relative_to(there).parts[0]
        private.require_safe_way(there / first, "DIRTUNE_LAB")
    except (NotPossible, OSError) as error:
        raise LabError(str(error)) from error
    if reading.is_folder(path) and path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise LabError(
            f"Other users may write to {path}. Check the folder's contents, then run: "
            f"chmod go-w {shlex.quote(str(path))}"
        )
    return place


SCENARIOS = Path(__file__).parent / "scenarios"


def scenario_names() -> tuple[str, ...]:
    """Return the names of the scenarios that are part of dirtune."""
    return tuple(sorted(path.stem for path in SCENARIOS.glob("*.toml")))


def scenario(name: str) -> Scenario:
    """Return the scenario *name*.

    Raises `LabError` if dirtune has no such scenario.
    """
    if name not in scenario_names():
        names = scenario_names()
        raise LabError(no_such("scenario", name, names, f"Choose from {', '.join(names)}."))
    return msgspec.toml.decode((SCENARIOS / f"{name}.toml").read_bytes(), type=Scenario)
