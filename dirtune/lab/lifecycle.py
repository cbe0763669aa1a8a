"""Start, end and describe a lab, reboot its director, and enter its nodes."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

import msgspec
import psutil

from dirtune import locking
from dirtune.analyse import doctor
from dirtune.analyse.run import Role
from dirtune.change import private
from dirtune.change.watchdog import importable
from dirtune.collect.facts import read_facts
from dirtune.collect.os_release import read_os_release
from dirtune.errors import DirtuneError, LabError
from dirtune.host import LiveHost
from dirtune.lab import cgroups, clearing, preparing
from dirtune.lab.spec import Spec, ssh_config
from dirtune.lab.state import Folder, Process, Record, Status, folder, process
from dirtune.packages import lacks
from dirtune.render.json_documents import LabDocument
from dirtune.signals import undisturbed

UP_LIMIT_S = 480

Say = Callable[[str], None]
# With -m, Python would import from the current folder of `dirtune lab up`, which may be unsafe.
_KEEP = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from dirtune.exit_status import outermost; from dirtune.lab.keeper import main; "
    "outermost(main)"
)
_LOCKS = Path("/run/dirtune")
# The path becomes part of scripts, and of files of ssh, sshd, nginx and QEMU, which all quote
# differently.
_PLAIN_PATH = re.compile(r"[\w/.-]+", re.ASCII)
_QUOTES = frozenset("\"'`\\$")
"""Characters with a meaning within the double quotes of a grub file, or to the kernel."""
_PATIENCE_S = 300
"""Longest time that `dirtune lab down` waits for another lab command, in seconds."""


def up(spec: Spec, say: Say) -> Status:
    """Build a lab, and wait until every node answers.

    On any failure, the lab is ended again. Raises `LabError` with the reason.
    """
    _require(spec)
    place = folder()
    _require_plain(place, spec)
    with _lock(place), _roots_to_write():
        record = place.record()
        if record and record.keeper.alive():
            raise LabError(
                f"A lab is already up (scenario {place.spec().scenario.name}, process "
                f"{record.keeper.pid}). End that lab first: dirtune lab down"
            )
        clearing.clear(place)
        _make(place)
        with undisturbed() as section:
            try:
                with section.interruptible():
                    preparing.prepare(place, spec, say)
                    _start(place)
                    return _await_ready(place, say)
            except BaseException as error:  # also after Ctrl-C: half a lab is worse than no lab
                kept = clearing.keep_logs(place)
                clearing.end(place)
                if isinstance(error, OSError):
                    raise LabError(f"{error.filename or place.path}: {error.strerror}") from error
                if isinstance(error, LabError):
                    raise LabError(f"{error} The logs are in {kept}.") from error
                raise


def down() -> bool:
    """End the lab, or remove what is left of a lab; return False if nothing was left."""
    place = folder()
    _require_root()
    # Wait for another lab command to end, so that the lab does not stay up because of it.
    with _lock(place, wait_s=_PATIENCE_S):
        if not place.path.exists() and not cgroups.exists(cgroups.find(place.path)):
            return False
        with undisturbed():
            clearing.end(place)
        return True


def running() -> Folder:
    """Return the folder of the running lab.

    Raises `LabError` if no lab is running.
    """
    place, _ = _running()
    return place


def _running() -> tuple[Folder, Record]:
    place = folder()
    record, status = place.record(), place.status()
    if record is None or not record.keeper.alive():
        failed = status.error.rstrip(".") if status and status.error else None
        ended = f" The last lab failed: {failed}." if failed else ""
        raise LabError(f"No lab is running.{ended} Start a lab: dirtune lab up")
    return place, record


def enter(node: str, command: Sequence[str], *, terminal: bool) -> int:
    """Run *command* on *node*, or a shell if *command* is empty, and return the exit status.

    If *terminal* is True, the command gets a terminal.
    """
    argv = _ssh_argv(running(), node, command, terminal=terminal)
    return subprocess.run(argv, check=False).returncode


def _ssh_argv(place: Folder, node: str, command: Sequence[str], *, terminal: bool) -> list[str]:
    names = [known.name for known in place.spec().nodes()]
    if node not in names:
        raise LabError(f"{node} is not a node of the lab. Choose one of {', '.join(names)}.")
    return ["ssh", "-F", str(place.ssh_config), *(["-t"] if terminal else []), node, *command]


def reboot(say: Say, director: str = "lb1", *, power_cut: bool = False) -> Status:
    """Reboot *director* with the kernel options of its grub files, and wait until it answers.

    If *power_cut* is True, the director's QEMU is killed without a shutdown.
    """
    place, record = _running()
    names = [node.name for node in place.spec().with_role(Role.DIRECTOR)]
    if director not in names:
        raise LabError(f"{director} is not a director of the lab, which are {', '.join(names)}.")
    before = place.status()
    if before is None:
        raise LabError("The lab is not up yet. Wait until `dirtune lab up` has finished.")
    if power_cut:
        _cut_power(place, record, director)
    else:
        # The SSH connection breaks when the director reboots, so its exit status means nothing.
        subprocess.run(
            _ssh_argv(place, director, ("reboot", "-f"), terminal=False),
            capture_output=True,
            timeout=60,
            check=False,
        )
    return _await_ready(place, say, director, before.boot_of(director).boots + 1)


def _cut_power(place: Folder, record: Record, director: str) -> None:
    for member in psutil.Process(record.keeper.pid).children(recursive=True):
        # Processes of other nodes may end at any time.
        with contextlib.suppress(psutil.NoSuchProcess):
            # Real servers may be guests as well.
            named = f"{director},debug-threads=on" in member.cmdline()
            if named and member.name().startswith("qemu-system"):
                place.power_cut(director).touch()
                member.kill()
                return
    raise LabError(
        f"The QEMU of {director} is not running. Start a new lab: "
        "dirtune lab down && dirtune lab up"
    )


def _require(spec: Spec) -> None:
    _require_root()
    if spec.clock == "exact" and spec.cpus > 1:
        raise LabError(
            "The exact clock needs --cpus 1: to count instructions, QEMU executes two CPUs in "
            "turns, never at the same time. Use --clock host with two CPUs."
        )
    if spec.backup:
        _require_pair(spec)
    facts = read_facts(LiveHost())
    # A real server that is a guest boots a standard kernel.
    guests = any(spec.is_guest(node) for node in spec.with_role(Role.REAL_SERVER))
    kinds = dict.fromkeys((spec.kernel, *(["standard"] if guests else [])))
    lacks = dict.fromkeys(lack for kind in kinds for lack in doctor.lab_obstacles(facts, kind))
    if lacks:
        raise LabError("; ".join(f"{lack.why}: {lack.remedy}" for lack in lacks))


def _require_pair(spec: Spec) -> None:
    if spec.clock == "exact":
        raise LabError(
            "--backup needs --clock host: the VRRP timers of both directors must run equally "
            "fast, and each exact clock may run slower than real time."
        )
    if spec.two_networks:
        raise LabError(
            "--backup needs --forwarding dr or tun: with NAT, the director's own address is the "
            "gateway of the real servers, and keepalived of the lab does not move that address."
        )
    if shutil.which("keepalived", path=preparing.PATH) is None:
        raise LabError(f"--backup needs it: {lacks(read_os_release(LiveHost()), 'keepalived')}")


def _require_plain(place: Folder, spec: Spec) -> None:
    """Raise `LabError` if the lab's files cannot quote the folder's path or the kernel options."""
    if not _PLAIN_PATH.fullmatch(str(place.path)):
        raise LabError(
            f"The folder of the lab, {place.path}, contains a character that its scripts and its "
            "ssh_config cannot hold. Set DIRTUNE_LAB to a path of ASCII letters, digits, `_`, `.` "
            "and `-`."
        )
    odd = next((c for c in spec.append if c in _QUOTES or not " " <= c <= "~"), None)
    if odd is not None:
        raise LabError(
            f"--append: a grub file of the lab cannot hold {odd!a} in a kernel option. Leave the "
            "option out."
        )


def _require_root() -> None:
    if os.geteuid() != 0:
        raise LabError(
            "Only root can start or end a lab, which needs namespaces, taps and control groups. "
            "Run the command with sudo."
        )


@contextlib.contextmanager
def _lock(place: Folder, *, wait_s: float = 0) -> Iterator[None]:
    path = _LOCKS / f"lab{str(place.path.absolute()).replace('/', '-')}.lock"
    until_s = time.monotonic() + wait_s
    while True:
        with private.folder(_LOCKS, make=True) as within:
            descriptor = private.opened(within, path, os.O_WRONLY | os.O_CREAT)
        with os.fdopen(descriptor, "w") as file:
            if _locked(file, path):
                try:
                    yield
                finally:
                    path.unlink(missing_ok=True)
                return
        if time.monotonic() >= until_s:
            raise LabError("Another `dirtune lab` command is running. Wait for it to end.")
        time.sleep(0.2)


def _locked(file: TextIO, path: Path) -> bool:
    """Lock *file*; return True if it is locked and is still the file that *path* names."""
    with contextlib.suppress(OSError):
        return locking.take(file) and path.stat().st_ino == os.fstat(file.fileno()).st_ino
    return False


@contextlib.contextmanager
def _roots_to_write() -> Iterator[None]:
    """Set a umask within the context, so that no other user may write to new files."""
    before = os.umask(0o077)
    os.umask(before | 0o022)
    try:
        yield
    finally:
        os.umask(before)


def _make(place: Folder) -> None:
    try:
        place.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LabError(f"Cannot make the folder {place.path}: {error.strerror}.") from error
    folder()  # another user may have created the folder first


def _start(place: Folder) -> None:
    spaces = ("--pid", "--fork", "--kill-child", "--mount", "--net", "--uts", "--ipc")
    keep = (sys.executable, "-P", "-c", _KEEP, json.dumps(importable()), str(place.path))
    with (place.path / "keeper.log").open("ab") as log:
        holder = subprocess.Popen(
            ("unshare", *spaces, "--mount-proc", *keep),
            # QEMU would load firmware from the current folder if it found any there.
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    keeper = _first_child(holder)
    record = Record(process(holder.pid), keeper, time.time())
    place.write("lab", record)
    place.ssh_config.write_text(ssh_config(place.spec(), str(place.keys), keeper.pid))


def _first_child(holder: "subprocess.Popen[bytes]") -> Process:
    for _ in range(100):
        children = psutil.Process(holder.pid).children()
        if children:
            return process(children[0].pid)
        if holder.poll() is not None:
            break
        time.sleep(0.05)
    holder.kill()
    raise LabError(
        "unshare(1) cannot create the lab's namespaces. Run the lab outside a container."
    )


def _await_ready(place: Folder, say: Say, director: str = "lb1", boots: int = 1) -> Status:
    end = time.monotonic() + UP_LIMIT_S
    last = ""
    while time.monotonic() < end:
        record, status = place.record(), place.status()
        if status and status.error:
            raise LabError(status.error)
        if record is None or not record.keeper.alive():
            raise LabError(f"The lab ended before it was ready. {_last_line(place)}")
        if status and status.phase != last:
            last = status.phase
            say(last)
        if status and status.ready and status.boot_of(director).boots >= boots:
            return status
        time.sleep(0.2)
    raise LabError(f"The lab was not ready within {UP_LIMIT_S} s. {_last_line(place)}")


def _last_line(place: Folder) -> str:
    with contextlib.suppress(OSError):
        lines = (place.path / "keeper.log").read_text(errors="replace").strip().splitlines()
        return (
            f"Its log ends with: {lines[-1].rstrip('.')}." if lines else "Its keeper.log is empty."
        )
    return "Its keeper.log is missing."


def describe() -> LabDocument:
    """Return the state of the lab, as `dirtune lab status` prints it (`dirtune/lab/1`)."""
    place = folder()
    record, status = place.record(), place.status()
    alive = bool(record and record.keeper.alive())
    result: LabDocument = {"schema": "dirtune/lab/1", "up": alive}
    with contextlib.suppress(DirtuneError, OSError):
        spec = place.spec()
        result |= {
            "scenario": spec.scenario.name,
            "title": spec.scenario.title,
            "kernel": spec.kernel,
            "cpus": spec.cpus,
            "forwarding": spec.forwarding,
            "nodes": {node.name: node.load_address for node in spec.nodes()},
            "ssh_config": str(place.ssh_config),
            "plan": str(place.plan),
        }
    if status:
        result |= {
            "phase": status.phase,
            "ready": alive and status.ready,
            "boots": status.boots,
            "boot_s": status.boot_s,
            "command_line": status.command_line,
            "error": status.error,
        }
        if status.backup:
            result["backup"] = msgspec.to_builtins(status.backup)
    return result
