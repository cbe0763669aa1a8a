"""The folder of a lab, which holds all of its state: `/var/lib/dirtune-lab` or `$DIRTUNE_LAB`.

It is not below `/var/lib/dirtune`, of which every node of the lab has its own.
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
    """A process of this machine, by its id and start time, because the kernel reuses ids."""

    pid: int
    started: float
    """Seconds since the epoch, as psutil gives it."""

    def alive(self) -> bool:
        """Tell whether this process still runs, and not another one of its id."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < 1
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


def process(pid: int) -> Process:
    """Return the running process *pid*; `psutil.NoSuchProcess` if it is gone."""
    return Process(pid, psutil.Process(pid).create_time())


class Record(msgspec.Struct, frozen=True):
    """The processes that `lab up` started, written before there is anything to clear away."""

    holder: Process
    """The unshare(1) that holds the namespaces; when it ends, every process in them does."""
    keeper: Process
    """Pid 1 of the lab's process namespace."""
    started: float
    """Seconds since the epoch."""


class Status(msgspec.Struct, frozen=True):
    """The lab's progress, written by its keeper."""

    phase: str
    ready: bool = False
    error: str | None = None
    boots: int = 0
    boot_s: float | None = None
    """Seconds from QEMU's start to the director's sshd, at the last boot."""
    command_line: str | None = None
    """Kernel options that the last boot took from the guest's grub drop-ins."""


@dataclass(frozen=True, slots=True)
class Folder:
    """The lab's folder, and the paths in it."""

    path: Path

    @property
    def keys(self) -> Path:
        """SSH keys that were made for this lab alone."""
        return self.path / "keys"

    @property
    def share(self) -> Path:
        """The director's files that outlive a reboot: its /etc, /var/lib/dirtune and /opt."""
        return self.path / "lb1"

    @property
    def opt(self) -> Path:
        """The nodes' /opt: dirtune, and stand-ins for commands."""
        return self.path / "opt"

    @property
    def ssh_config(self) -> Path:
        """The ssh_config that reaches the nodes."""
        return self.path / "ssh_config"

    @property
    def plan(self) -> Path:
        """The plan file of the lab's service."""
        return self.path / "plan.toml"

    @property
    def power_cut(self) -> Path:
        """A file that exists while QEMU is killed on purpose, so that the keeper boots again."""
        return self.path / "power-cut"

    def node(self, name: str) -> Path:
        """Return the folder of one node."""
        return self.path / name

    def spec(self) -> Spec:
        """Read the lab's description."""
        path = self.path / "spec.json"
        try:
            return from_json(path.read_bytes(), Spec)
        except msgspec.DecodeError as error:
            raise LabError(
                f"Cannot read {path}: {error}. Use the version of dirtune that made this lab."
            ) from error

    def record(self) -> Record | None:
        """Read which processes were started; None if none was."""
        try:
            return msgspec.json.decode((self.path / "lab.json").read_bytes(), type=Record)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def status(self) -> Status | None:
        """Read the lab's progress; None if its keeper has not written it yet."""
        try:
            return msgspec.json.decode((self.path / "status.json").read_bytes(), type=Status)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def require_own(self) -> None:
        """Raise `LabError` if the folder holds something else than a lab."""
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
        """Write *value* as NAME.json, in one step."""
        new = self.path / f".{name}.new"
        new.write_bytes(msgspec.json.encode(value))
        new.replace(self.path / f"{name}.json")


def folder() -> Folder:
    """Return the lab's folder on this machine, which may not exist.

    `LabError` if another user could replace it or write to it, because root runs its contents.
    """
    path = lab_folder().absolute()
    place = Folder(path)
    try:
        # Only the part that exists; `lab up` looks again when it has made the rest.
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
    """Return the names of the scenarios that come with dirtune."""
    return tuple(sorted(path.stem for path in SCENARIOS.glob("*.toml")))


def scenario(name: str) -> Scenario:
    """Read one scenario; `LabError` if it does not come with dirtune."""
    if name not in scenario_names():
        names = scenario_names()
        raise LabError(no_such("scenario", name, names, f"Choose from {', '.join(names)}."))
    return msgspec.toml.decode((SCENARIOS / f"{name}.toml").read_bytes(), type=Scenario)
