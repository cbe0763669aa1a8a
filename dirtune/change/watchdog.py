"""A separate process that rolls changes back unless they are confirmed in time.

The watchdog survives the shell and the SSH connection that started it. Under systemd it is a
service, which systemd restarts if it dies. A systemd timer would not suffice: if the process that
makes the changes died halfway, a timer would undo the changes too late. Without systemd, the
watchdog has its own session and holds none of the shell's files open. It does not survive a
reboot, but a reboot undoes the run-time changes anyway.

dirtune changes nothing until the watchdog reports that it is watching. Otherwise the watchdog
could die unnoticed, and a change would stay for ever. If the watchdog is stopped, by systemctl(1)
or at shutdown, it first rolls the changes back.
"""

import importlib
import itertools
import json
import math
import os
import select
import shutil
import signal
import stat
import sys
import syslog
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dirtune.change import borrowed, detached, journal, private
from dirtune.change.record import State
from dirtune.change.transaction import Place, boot_id, record_undo, undo_journal
from dirtune.errors import DirtuneError, NotPossible, NotRecorded, ParseError
from dirtune.escape import one_line
from dirtune.exit_status import fault
from dirtune.host import WritableHost, run
from dirtune.signals import Ended, interruptible, prepare

_LOOK_S = 5.0
"""Seconds between looks at the size and the time of the journal's file.

On the emulated director, whose files are 9p, a look takes 1.4 ms of CPU time."""
_PAUSES_S = tuple(float(2**n) for n in range(8))
"""Pauses in seconds between attempts to undo; after four minutes systemd restarts the watchdog."""
_READY_S = 60.0
"""Seconds that a watchdog may take to report that it is watching, on a busy director."""
_MOST_BYTES = 1 << 16
_ENDING = ".ready"
_LATE = "not confirmed in time"
# Nothing of this machine is part of the program: values are passed as arguments. A descriptor that
# the starter inherited, such as the lock of flock(1), would be held until the watchdog ends.
_PROGRAM = (
    "import json, os, sys; os.closerange(3, 1 << 20); sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from dirtune.change.watchdog import main; main(*sys.argv[1:])"
)
# This folder exists while systemd is the first process (sd_booted(3)).
_SYSTEMD = Path("/run/systemd/system")


@dataclass(frozen=True, slots=True)
class _Started:
    """A watchdog process that was started and has not reported yet."""

    end: Callable[[], None]
    """A function that ends the process."""
    report: str
    """The reason to print if the watchdog does not start."""


class _Start:
    by_fork = False


def start_by_fork() -> None:
    """Fork the watchdogs of this process and its children where systemd does not run.

    To import this module again takes an emulated director 7 s. There must be no other threads.
    """
    _Start.by_fork = True


def arm(path: Path, at: Place, late_imports: Iterable[str] = ()) -> None:
    """Start a watchdog for the journal *path*, and return once it reports that it is watching.

    *late_imports* are the modules that an undo of the planned changes would import; the watchdog
    imports them before it reports. Raises `NotPossible` if the watchdog does not report; its
    process is then ended.
    """
    arguments = [str(path), str(at.state), str(at.run), *late_imports]
    argv = [sys.executable, "-P", "-c", _PROGRAM, json.dumps(importable()), *arguments]
    pipe = _pipe(path, at)
    with borrowed.held(path.stem):
        with _opened(pipe) as reading:
            if _systemd_runs_here():
                started = _by_systemd(argv, path.stem)
            elif _Start.by_fork:
                started = _ours(detached.fork(lambda: main(*arguments), pipe))
            else:
                started = _spawn(argv, pipe)
            words = _heard(reading, _watching(path))
        if words is None:
            return
        started.end()
        raise NotPossible(
            f"The watchdog did not start ({words or started.report}), so nothing was changed. "
            "Install dirtune where its Python interpreter can import it, or run without a "
            "watchdog: --confirm 0."
        )


def importable() -> list[str]:
    """Return the folders from which this process imports, so that the watchdog can use them.

    The folders of a zipapp, or of an archive made by shiv or PEX, are known only while it runs.
    """
    found = []
    for entry in sys.path:
        with suppress(FileNotFoundError):  # the current folder, which was removed
            found.append(str(Path(entry).absolute()))
    return found


def _systemd_runs_here() -> bool:
    """Whether systemd runs here, with the namespaces and the root folder of this process."""
    if not (_SYSTEMD.is_dir() and shutil.which("systemd-run")):
        return False
    try:
        return _surroundings(1) == _surroundings()
    except OSError:
        return True  # the watchdog's report contains its namespaces


def _surroundings(process: int | str = "self") -> str:
    """Return the mount and network namespaces of a process, and the identity of its root folder.

    A process in a chroot has the namespaces of all others, but its paths name other files.
    """
    kinds = ("mnt", "net")
    spaces = " ".join(str(Path(f"/proc/{process}/ns/{kind}").readlink()) for kind in kinds)
    root = os.open(f"/proc/{process}/root/", os.O_PATH | os.O_CLOEXEC)
    try:
        # The same folder may be mounted twice, with other mounts below it.
        rows = Path(f"/proc/self/fdinfo/{root}").read_text(encoding="ascii").splitlines()
        mount = next((row.split()[1] for row in rows if row.startswith("mnt_id:")), "")
        return f"{spaces} root:[{mount}:{os.fstat(root).st_ino}]"
    finally:
        os.close(root)


def _by_systemd(argv: list[str], name: str) -> _Started:
    # systemd gives up on a unit that was started five times in 10 s.
    again = ("--property=Restart=on-failure", "--property=RestartSec=3")
    # If the unit is stopped during an undo, the undo and its commands may finish; it may also wait
    # for a process that applies. Killed after 90 s, it would leave the change to nobody.
    alone = ("--property=KillMode=mixed", "--property=TimeoutStopSec=infinity")
    unit = f"dirtune-{name}"
    literal = [word.replace("$", "$$") for word in argv]  # systemd expands variables
    run(("systemd-run", "--quiet", "--collect", *again, *alone, f"--unit={unit}", "--", *literal))

    def end() -> None:
        with suppress(NotPossible):
            run(("systemctl", "stop", unit))

    return _Started(end, f"see: journalctl -u {unit}")


def _spawn(argv: list[str], pipe: Path) -> _Started:
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        # If the process dies before it watches, the pipe ends, and the last line is the reason.
        (os.POSIX_SPAWN_OPEN, 2, str(pipe), os.O_WRONLY, 0),
    ]
    try:
        child = os.posix_spawn(argv[0], argv, os.environ, file_actions=files, setsid=True)
    except OSError as error:
        raise NotPossible(
            f"The watchdog could not be started ({argv[0]}: {error.strerror}), so nothing was "
            "changed. Run without a watchdog: --confirm 0."
        ) from error

    return _ours(child)


def _ours(child: int) -> _Started:
    def end() -> None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

    return _Started(end, f"it did not report within {_READY_S:g} s")


def _pipe(path: Path, at: Place) -> Path:
    """Return the path of the pipe through which the watchdog of the journal *path* reports."""
    return at.run / f"{path.stem}{_ENDING}"


def _remove_pipes(folder: int) -> None:
    """Remove pipes that killed processes left; the caller must hold the lock."""
    for name in os.listdir(folder):
        if name.endswith(_ENDING):
            os.unlink(name, dir_fd=folder)


def _watching(path: Path) -> str:
    return f"watching {path} in {_surroundings()}"


@contextmanager
def _opened(pipe: Path) -> Iterator[int]:
    try:
        with private.folder(pipe.parent) as folder:
            _remove_pipes(folder)
            os.mkfifo(pipe.name, 0o600, dir_fd=folder)
            reading = os.open(pipe.name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        raise NotPossible(
            f"{pipe}: {error.strerror}. Changes need root. Run dirtune with sudo."
        ) from error
    try:
        yield reading
    finally:
        os.close(reading)
        pipe.unlink(missing_ok=True)


def _heard(reading: int, awaited: str) -> str | None:
    """Return None once the line *awaited* arrives.

    If the pipe is closed before that, return its last line. After a timeout, return an empty text.
    """
    until_s = time.monotonic() + _READY_S
    text = b""
    while select.select([reading], [], [], max(0.0, until_s - time.monotonic()))[0]:
        part = os.read(reading, 4096)
        text = (text + part)[-_MOST_BYTES:]
        lines = text.decode(errors="replace").splitlines()
        if awaited in lines:
            return None
        if not part:
            return lines[-1] if lines else "it exited without a message"
    return ""


def _say(path: Path, at: Place) -> None:
    """Report to the process that applies the changes that its journal is now watched."""
    journal.begun(path)  # the folder can be read
    if not journal.locked(at.run):
        return
    pipe = _pipe(path, at)
    # After a restart by systemd, no process reads the pipe any more.
    with suppress(OSError), private.folder(at.run) as folder:
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        writing = os.open(pipe.name, flags, dir_fd=folder)
        os.write(writing, f"{_watching(path)}\n".encode())
        os.close(writing)


def watch(path: Path, at: Place, host: WritableHost) -> None:
    """Wait until the journal *path* is settled, and roll it back when its time is over.

    The process that applies the changes holds the lock until all changes are made. So if the
    watchdog gets the lock and the journal is unfinished, that process has died. A failed undo is
    tried again after a pause, which doubles each time. The error of the last attempt is raised.

    If the undo cannot be recorded, as on a full disk, only the record is tried again, until it
    succeeds: somebody may set the host up anew in the meantime.
    """
    pauses = iter(_PAUSES_S)
    try:
        while (pause := _pause(path, at, host, pauses)) is not None:
            _rest(path, pause)
    except NotRecorded as error:
        _log(error)
        # If a signal ends this process, the changes are undone all the same.
        with suppress(Ended):
            _record(path, at)


def _rest(path: Path, seconds: float) -> None:
    """Sleep for some seconds, but only until the journal *path* changes.

    To lock and read the journal every second would take a slow CPU a tenth of its time, while the
    effect of the change is measured.
    """
    # This clock also counts the time in which the machine is suspended.
    before, end = _stamp(path), journal.boot_clock_s() + seconds
    while (left := end - journal.boot_clock_s()) > 0 and _stamp(path) == before:
        time.sleep(min(left, _LOOK_S))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _record(path: Path, at: Place) -> None:
    """Record that the journal *path* was undone, as soon as the journal can be written."""
    for pause in itertools.chain(_PAUSES_S, itertools.repeat(_PAUSES_S[-1])):
        time.sleep(pause)
        with suppress(DirtuneError, OSError), journal.lock(at.run, wait_s=math.inf):
            if journal.begun(path) and journal.load(path).state is not State.ROLLED_BACK:
                record_undo(path, _LATE)
            return


def _settle(path: Path, at: Place, host: WritableHost, why: str) -> None:
    """Roll back an unconfirmed journal, because this watchdog is about to end."""
    # When `arm` stops a watchdog that did not report, it holds the lock and has no journal yet.
    if not journal.begun(path):
        return
    with journal.lock(at.run, wait_s=math.inf):
        if _left(path, host) is None:
            return
        try:
            undo_journal(path, host, why)
        except NotRecorded as error:  # if systemd restarted the watchdog, it would undo again
            _log(error)
            return
    syslog.syslog(syslog.LOG_WARNING, one_line(f"{path.stem} was rolled back: {why}"))


def _pause(path: Path, at: Place, host: WritableHost, pauses: Iterator[float]) -> float | None:
    """Return the seconds until the journal must be read again; None once it is settled.

    If reading or undoing the journal failed, return the next of *pauses*, because the cause may be
    temporary, such as a lack of file descriptors.
    """
    try:
        return _look(path, at, host)
    except (ParseError, NotRecorded):
        raise  # another attempt would read the same
    except Exception as error:  # without systemd, nothing restarts this process
        _log(error)
        again = next(pauses, None)
        if again is None:
            raise
        return again


def _look(path: Path, at: Place, host: WritableHost) -> float | None:
    with journal.lock(at.run, wait_s=math.inf):
        left = _left(path, host)
        if left is not None and left <= 0:
            undo_journal(path, host, _LATE)
            return None
        return left


def _left(path: Path, host: WritableHost) -> float | None:
    """Return the seconds until the journal must be rolled back; None if it is settled."""
    if not journal.begun(path):
        return None
    entry = journal.load(path)
    if entry.state is State.PLANNED:
        return 0.0
    return entry.seconds_left(boot_id(host), journal.boot_clock_s())


def _log(error: Exception) -> None:
    text = one_line(str(error) if isinstance(error, DirtuneError) else fault(error))
    syslog.syslog(syslog.LOG_ERR, text)
    with suppress(OSError):  # the process that applies may still read it
        os.write(2, f"{text}\n".encode())


def main(name: str, state: str, run: str, *late_imports: str) -> None:
    """Run as the watchdog of the journal *name*."""
    # When it undoes, dirtune's files may have been replaced or removed, or be out of reach.
    for module in late_imports:
        importlib.import_module(module)

    prepare()
    os.chdir("/")
    syslog.openlog("dirtune")
    path, at, host = Path(name), Place(Path(state), Path(run)), WritableHost()
    try:
        with interruptible():
            try:
                _say(path, at)
                _let_go_of_the_pipe()
                watch(path, at, host)
            except Ended as error:
                _settle(path, at, host, f"its watchdog was {error}")
    except ParseError as error:
        _log(error)  # a restart would not help: the journal stays damaged
    except Exception as error:  # noqa: BLE001  (the outermost place of this process)
        _log(error)
        sys.exit(1)  # this makes systemd restart it
    borrowed.let_go(path.stem)


def _let_go_of_the_pipe() -> None:
    if stat.S_ISFIFO(os.fstat(2).st_mode):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 2)
        os.close(nothing)
