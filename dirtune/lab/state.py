"""Where a lab keeps what it knows: one folder, so that one `rm` forgets it all.

The folder is `/var/lib/dirtune-lab` or `$DIRTUNE_LAB`. It is kept apart from
`/var/lib/dirtune`, which every node of the lab has for itself.
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


class Process(msgspec.Struct, frozen=True):
    """A process of this machine, by id and start time: ids are used again."""

    pid: int
    started: float
    """Seconds since the epoch, as psutil gives it."""

    def alive(self) -> bool:
        """Tell whether this very process still runs."""
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
    """What `lab up` started; written before anything that needs clearing away exists."""

    holder: Process
    """The unshare(1) that holds the namespaces; its end ends everything in them."""
    keeper: Process
    """Pid 1 of the lab's process namespace."""
    started: float


class Status(msgspec.Struct, frozen=True):
    """How far the lab is, written by its keeper."""

    phase: str
    ready: bool = False
    error: str | None = None
    boots: int = 0
    boot_s: float | None = None
    """Seconds from QEMU's start to the director's sshd, at the last boot."""
    command_line: str | None = None
    """What the last boot took from the guest's grub drop-ins."""


@dataclass(frozen=True, slots=True)
class Folder:
    """The lab's folder and the places in it."""

    path: Path

    @property
    def keys(self) -> Path:
        """SSH keys made for this lab alone."""
        return self.path / "keys"

    @property
    def share(self) -> Path:
        """What the director keeps over a reboot: its /etc, /var/lib/dirtune and /opt."""
        return self.path / "lb1"

    @property
    def opt(self) -> Path:
        """What the nodes have in /opt: dirtune, and stand-ins for commands."""
        return self.path / "opt"

    @property
    def ssh_config(self) -> Path:
        """How to reach the nodes."""
        return self.path / "ssh_config"

    @property
    def plan(self) -> Path:
        """The plan file of the lab's service."""
        return self.path / "plan.toml"

    @property
    def power_cut(self) -> Path:
        """There while the director's machine is killed on purpose, to be booted again."""
        return self.path / "power-cut"

    def node(self, name: str) -> Path:
        """Return the folder of one node."""
        return self.path / name

    def spec(self) -> Spec:
        """Read what the lab was asked to be."""
        path = self.path / "spec.json"
        try:
            return from_json(path.read_bytes(), Spec)
        except msgspec.DecodeError as error:
            raise LabError(f"{path}: {error}. Use the dirtune that made this lab.") from error

    def record(self) -> Record | None:
        """Read what was started, None if nothing was."""
        try:
            return msgspec.json.decode((self.path / "lab.json").read_bytes(), type=Record)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def status(self) -> Status | None:
        """Read how far the lab is, None if its keeper has not said."""
        try:
            return msgspec.json.decode((self.path / "status.json").read_bytes(), type=Status)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def require_own(self) -> None:
        """Raise `LabError` where the folder holds something, and no lab."""
        try:
            names = {each.name for each in self.path.iterdir()}
        except FileNotFoundError:
            return
        except OSError as error:
            raise LabError(f"{self.path}: {error.strerror}") from error
        if not names <= {".spec.new"} and "spec.json" not in names:
            raise LabError(
                f"{self.path}: holds {min(names)}, and no lab. Name a folder of its own in "
                "DIRTUNE_LAB."
            )

    def write(self, name: str, value: Spec | Record | Status) -> None:
        """Write one of the JSON files above, whole or not at all."""
        new = self.path / f".{name}.new"
        new.write_bytes(msgspec.json.encode(value))
        new.replace(self.path / f"{name}.json")


def folder() -> Folder:
    """Return the lab's folder on this machine; it may not exist.

    `LabError` refuses one that another user could exchange or write to: root runs what it holds.
    """
    place = Folder(lab_folder())
    path = place.path.absolute()
    try:
        # As far as it is there; `lab up` looks again when it has made the rest.
        there = next(at for at in (path, *path.parents) if os.path.lexists(at))
        first = (path / "spec.json").relative_to(there).parts[0]
        private.require_safe_way(there / first, "DIRTUNE_LAB")
    except (NotPossible, OSError) as error:
        raise LabError(str(error)) from error
    if reading.is_folder(path) and path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise LabError(
            f"{path}: other users may write to it. Check what it holds, then run: "
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
        raise LabError(f"{name}: no such scenario; there are {', '.join(scenario_names())}")
    return msgspec.toml.decode((SCENARIOS / f"{name}.toml").read_bytes(), type=Scenario)
