"""Build a lab and keep it up, as pid 1 of the lab's namespaces.

`dirtune lab up` starts this program (the keeper) with unshare(1) in new process, mount, network,
UTS and IPC namespaces, which contain every part of the lab. When the keeper ends, for whatever
reason, the kernel ends every process of the lab and frees its links, taps and mounts. The control
groups and the folder remain until `dirtune lab down` removes them.
"""

import contextlib
import os
import queue
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec

from dirtune.analyse.run import Role
from dirtune.errors import DirtuneError, LabError
from dirtune.host import run
from dirtune.lab import cgroups, guest, qmp
from dirtune.lab.spec import Node, Spec, cpu_layout, network_commands
from dirtune.lab.state import Boot, Folder, Status

BOOT_LIMIT_S = 400
CRASH_LIMIT = 3
"""Number of boots in a row that may end before the director answers on SSH."""
_LAST_BYTES = 1 << 20


def main() -> None:
    """Build the lab in the folder that the only command-line argument names, and keep it up."""
    folder = Folder(Path(sys.argv[1]))
    try:
        _wait_for_record(folder)
        Keeper(folder).keep()
    except (DirtuneError, OSError) as error:
        folder.write("status", Status(phase="failed", error=str(error)))
        raise LabError(str(error)) from error


def _wait_for_record(folder: Folder) -> None:
    # `dirtune lab down` could not end a lab that `dirtune lab up` has not recorded.
    for _ in range(100):
        if folder.record():
            return
        time.sleep(0.1)
    raise LabError(
        "The command `dirtune lab up` exited before it recorded the lab. Run the command again."
    )


class Keeper:
    """A lab that is being built or is running."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._spec: Spec = folder.spec()
        self._groups = cgroups.find(folder.path)
        self._director_cpus, self._load_cpus = cpu_layout(os.sched_getaffinity(0), self._spec.cpus)
        self._directors = self._spec.with_role(Role.DIRECTOR)
        self._boots = {node.name: Boot() for node in self._directors}
        self._lock = threading.Lock()
        """Held while `_boots` and the status are written, because directors have threads."""

    def keep(self) -> None:
        """Build the lab, and boot each director again after its reboots, until a signal arrives.

        The first failure of any director ends the lab.
        """
        self._say("building the network")
        _private_mounts(self._folder)
        _hide_from_boots(self._folder)
        for line in network_commands(self._spec):
            run(("ip", *line.split()))
        self._say("starting the real servers and clients")
        others = [node for node in self._spec.nodes() if node.role != Role.DIRECTOR]
        started = [(node, self._start_node(node)) for node in others]
        for node, process in started:
            limit_s = BOOT_LIMIT_S if self._spec.is_guest(node) else 30
            _wait_for_ssh(node, process, limit_s)
        failures: queue.SimpleQueue[BaseException] = queue.SimpleQueue()

        def serve(node: Node) -> None:
            try:
                self._keep_booted(node)
            except BaseException as error:  # noqa: BLE001  (the main thread raises it)
                failures.put(error)

        # The kernel of each director, before two threads unpack the same one.
        guest.prepared(guest.kernel_image(self._spec.kernel), self._folder.path)
        for node in self._directors:
            threading.Thread(target=serve, args=(node,), daemon=True).start()
        raise failures.get()

    def _keep_booted(self, node: Node) -> None:
        crashes = 0
        while crashes < CRASH_LIMIT:
            answered = self._boot(node)
            crashes = 0 if answered else crashes + 1
        raise LabError(
            f"The QEMU of {node.name} exited {crashes} times before {node.name} answered on SSH. "
            f"See {self._folder.console(node.name)}."
        )

    def _start_node(self, node: Node) -> "subprocess.Popen[bytes]":
        cgroups.create(self._groups, node.name, frozenset(self._load_cpus))
        folder = self._folder.node(node.name)
        if self._spec.is_guest(node):
            kernel = guest.prepared(guest.kernel_image("standard"), self._folder.path)
            argv = guest.server_argv(node, kernel, folder, folder / "boot.sh")
            return self._spawn(node.name, argv, folder / "node.log")
        return self._spawn(
            node.name,
            (
                *("ip", "netns", "exec", node.name, "unshare", "--pid", "--fork", "--kill-child"),
                *("--uts", "--mount", "--mount-proc", "sh", str(folder / "boot.sh")),
            ),
            folder / "node.log",
        )

    def _boot(self, node: Node) -> bool:
        """Boot a director, wait until its QEMU exits, and return whether it answered on SSH."""
        folder, name = self._folder, node.name
        share = folder.node(name)
        options = guest.command_line(share / "etc")
        boot = Boot(boots=self._boots[name].boots + 1, command_line=options)
        self._booted(name, boot, f"booting the director: {options}")
        cgroups.create(self._groups, name, frozenset(os.sched_getaffinity(0)))
        kernel = guest.prepared(guest.kernel_image(self._spec.kernel), folder.path)
        console, monitor = folder.console(name), folder.monitor(name)
        monitor.unlink(missing_ok=True)
        argv = (
            *guest.argv(self._spec, kernel, options, share, folder.script(name), node),
            *("-qmp", f"unix:{monitor},server=on,wait=off"),
        )
        began = time.monotonic()
        spoken = console.stat().st_size if console.exists() else 0
        qemu = self._spawn(name, argv, console)
        with qmp.Monitor(monitor, lambda: qemu.poll() is None) as events:
            answered = self._await_director(node, qemu, began, boot)
            code = qemu.wait()
            reason = events.shutdown_reason()
        spoke = last_words(console, spoken)
        if folder.power_cut(name).exists():
            folder.power_cut(name).unlink()
        elif not guest.rebooted(reason, spoke):
            text = f"signal {-code}" if code < 0 else f"exit status {code}"
            raise LabError(
                f"The QEMU of {name} exited with {text} instead of rebooting. See {console}."
            )
        return answered

    def _await_director(
        self, node: Node, qemu: "subprocess.Popen[bytes]", began: float, boot: Boot
    ) -> bool:
        try:
            _wait_for_ssh(node, qemu, BOOT_LIMIT_S)
        except LabError:
            if qemu.poll() is not None:
                return False
            raise
        # An idle backup needs no CPU of its own, and when it takes over, the master's is free.
        if node == self._directors[0]:
            self._pin(qemu.pid)
        took = time.monotonic() - began
        self._booted(node.name, msgspec.structs.replace(boot, ready=True, boot_s=took), "ready")
        return True

    def _pin(self, pid: int) -> None:
        """Pin each virtual CPU of the director to a CPU that the load does not use."""
        cpus = self._director_cpus
        for number, thread in enumerate(guest.vcpu_threads(pid)):
            os.sched_setaffinity(thread, {cpus[number % len(cpus)]})

    def _spawn(self, node: str, argv: tuple[str, ...], log: Path) -> "subprocess.Popen[bytes]":
        files = cgroups.members_files(self._groups, node)
        join = "; ".join(f"echo $$ > {shlex.quote(str(path))}" for path in files)
        scratch = self._folder.path / "tmp"
        bin_folder = Path(sys.executable).parent
        environment = os.environ | {
            "PATH": f"{bin_folder}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "TMPDIR": str(scratch),
            "HOME": str(scratch),
        }
        with log.open("ab") as out:
            return subprocess.Popen(
                ("sh", "-c", f'{join}; exec "$@"', "sh", *argv),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=environment,
            )

    def _say(self, phase: str) -> None:
        first, *others = self._boots.values()
        ready = all(boot.ready for boot in self._boots.values())
        status = Status(
            phase=phase if ready or phase != "ready" else "waiting for the other director",
            ready=ready,
            boots=first.boots,
            boot_s=first.boot_s,
            command_line=first.command_line,
            backup=others[0] if others else None,
        )
        self._folder.write("status", status)

    def _booted(self, director: str, boot: Boot, phase: str) -> None:
        with self._lock:
            self._boots[director] = boot
            self._say(phase)


def last_words(console: Path, spoken: int) -> str:
    """Return the end of a guest's console output, without its first *spoken* bytes.

    Only the end is read, because a guest may print without limit.
    """
    with console.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(spoken, size - _LAST_BYTES))
        return file.read(_LAST_BYTES).decode(errors="replace")


def _private_mounts(folder: Folder) -> None:
    run(("mount", "--make-rprivate", "/"))
    groups = folder.path / "cgroup"
    groups.mkdir()
    run(("mount", "--rbind", "/sys/fs/cgroup", str(groups)))
    names = Path("/run/netns")
    names.mkdir(parents=True, exist_ok=True)
    run(("mount", "-t", "tmpfs", "-o", "mode=0755", "dirtune-lab", str(names)))


# These rules load drivers, and name NICs and the ports of the boot script.
_UDEV_RULES = ("50-udev-default", "75-net-description", "80-drivers", "80-net-setup-link")


def _hide_from_boots(folder: Folder) -> None:
    """Hide the rules of udev and of systemd-tmpfiles that no guest needs.

    With them, an emulated CPU needs 6 s more for each boot.
    """
    usual = Path("/usr/lib/udev/rules.d")
    rules, nothing = folder.path / "udev", folder.path / "tmpfiles"
    for place in (rules, nothing):
        place.mkdir()
    for name in _UDEV_RULES:
        shutil.copy(usual / f"{name}.rules", rules)
    run(("mount", "--bind", str(rules), str(usual)))
    run(("mount", "--bind", str(nothing), "/usr/lib/tmpfiles.d"))


def _wait_for_ssh(node: Node, process: "subprocess.Popen[bytes]", limit_s: float) -> None:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if process.poll() is not None:
            raise LabError(
                f"{node.name} exited before it answered on SSH. "
                f"See the log of {node.name} in the lab's folder."
            )
        with contextlib.suppress(OSError):
            address = (node.control_address, 22)
            with socket.create_connection(address, 2) as link:
                link.settimeout(10)
                if link.recv(4) == b"SSH-":
                    return
        time.sleep(0.3)
    raise LabError(
        f"{node.name} did not answer on SSH within {limit_s:g} s. "
        f"See the log of {node.name} in the lab's folder."
    )
