"""A process of its own that takes changes back unless they are confirmed in time.

It survives the shell and the SSH connection that started it. Where systemd runs it is a service of
that, which starts it again if it dies; a timer would be late where the process that applies dies
in the middle. Elsewhere it has a session of its own and holds none of their files. It does not
survive a reboot, which takes back what was done at run time.
"""

import math
import os
import shutil
import sys
import syslog
import time
from collections.abc import Iterator
from pathlib import Path

from dirtune.errors import DirtuneError, NotPossible, ParseError
from dirtune.escape import one_line
from dirtune.host import WritableHost, run
from dirtune.tune import journal
from dirtune.tune.journal import State
from dirtune.tune.transaction import Place, boot_id, undo_journal

_LOOK_S = 1.0
_PAUSES_S = tuple(float(2**n) for n in range(8))
"""Between tries to undo: four minutes in all; then systemd, where it runs, starts anew."""
# There while systemd is the first process (sd_booted(3)).
_SYSTEMD = Path("/run/systemd/system")


def arm(path: Path, at: Place) -> None:
    """Start a watchdog for the journal *path*; `NotPossible` if there can be none."""
    argv = [sys.executable, "-P", "-m", __name__, str(path), str(at.state), str(at.run)]
    if _SYSTEMD.is_dir() and shutil.which("systemd-run"):
        again = ("--property=Restart=on-failure", "--property=RestartSec=1")
        unit = f"--unit=dirtune-{path.stem}"
        run(("systemd-run", "--quiet", "--collect", *again, unit, "--", *argv))
    else:
        _spawn(argv)


def _spawn(argv: list[str]) -> None:
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    try:
        os.posix_spawn(argv[0], argv, os.environ, file_actions=files, setsid=True)
    except OSError as error:
        said = f"no watchdog ({error.strerror}): without one nothing is changed"
        raise NotPossible(f"{argv[0]}: {said}; --confirm 0 does without") from error


def watch(path: Path, at: Place, host: WritableHost) -> None:
    """Wait until the journal *path* is settled, and settle it when its time is over.

    The process that applies holds the lock from before this one is started, so a journal found
    unfinished belongs to one that died. What cannot be undone is tried again, each time twice as
    late; the error of the last try is raised.
    """
    pauses = iter(_PAUSES_S)
    while True:
        with journal.lock(at.run, wait_s=math.inf):
            left = _left(path, host)
            if left is None:
                return
            pause = min(left, _LOOK_S)
            if left <= 0:
                again = _undo(path, host, pauses)
                if again is None:
                    return
                pause = again
        time.sleep(pause)


def _undo(path: Path, host: WritableHost, pauses: Iterator[float]) -> float | None:
    """Return the seconds until another try, the next of *pauses*; None when it is undone."""
    try:
        undo_journal(path, host, "not confirmed in time")
    except DirtuneError as error:
        _log(error)
        again = next(pauses, None)
        if again is None:
            raise
        return again
    return None


def _left(path: Path, host: WritableHost) -> float | None:
    """Return seconds until it must be taken back, None when there is nothing to take back."""
    if path not in journal.paths(path.parent):
        return None
    entry = journal.load(path)
    if entry.state is State.PLANNED:
        return 0.0
    return entry.seconds_left(boot_id(host), journal.boot_clock_s())


def _log(error: DirtuneError) -> None:
    syslog.syslog(syslog.LOG_ERR, one_line(str(error)))


def _main(path: str, state: str, run: str) -> None:
    os.chdir("/")
    syslog.openlog("dirtune")
    try:
        watch(Path(path), Place(Path(state), Path(run)), WritableHost())
    except ParseError as error:
        _log(error)  # started anew, it would read the same
    except DirtuneError as error:
        _log(error)
        sys.exit(1)  # systemd takes that for a reason to start it again


if __name__ == "__main__":
    _main(*sys.argv[1:])
