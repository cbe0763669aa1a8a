"""End a lab: end its processes, and remove its control groups and its folder."""

import contextlib
import itertools
import os
import shutil
import signal
import stat
import time
from pathlib import Path

from dirtune.errors import LabError
from dirtune.lab import cgroups
from dirtune.lab.state import Folder, Process

_KEPT_BYTES = 16 << 20
"""Number of bytes that are copied from the end of each log."""


def keep_logs(place: Folder) -> Path:
    """Copy the logs of a failed lab to a folder next to the lab's, and return the new folder.

    A folder with earlier logs is replaced, but nothing else.
    """
    names = itertools.chain(("failed",), (f"failed-{number}" for number in itertools.count(2)))
    paths = (place.path.with_name(f"{place.path.name}-{name}") for name in names)
    kept = next(path for path in paths if not os.path.lexists(path) or _holds_logs_alone(path))
    shutil.rmtree(kept, ignore_errors=True)
    with contextlib.suppress(OSError):  # the disk may be full, but the lab must still be removed
        _copy_logs(place.path, kept)
    return kept


def _holds_logs_alone(folder: Path) -> bool:
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        return False
    held = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return all(path.suffix == ".log" for path in held)


def _copy_logs(lab: Path, kept: Path) -> None:
    # The folder is new, because names in an existing folder could be links. Only root may read
    # some of the logs.
    kept.mkdir(0o700)
    # Files in deeper folders are not logs, and a guest's root user could replace them with links.
    for log in (*lab.glob("*.log"), *lab.glob("*/*.log")):
        copy = kept / log.relative_to(lab)
        with contextlib.suppress(OSError):
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(_end_of(log))


def _end_of(log: Path) -> bytes:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with open(os.open(log, flags), "rb") as file:  # noqa: PTH123  (a descriptor)
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            return b""
        file.seek(max(0, status.st_size - _KEPT_BYTES))
        return file.read(_KEPT_BYTES)


def end(place: Folder) -> None:
    """End all processes of the lab, then remove its control groups and its folder.

    Raises `LabError` if a process does not end.
    """
    record = place.record()
    for process in (record.keeper, record.holder) if record else ():
        _end_process(process)
    clear(place)


def _end_process(process: Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not process.alive():
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)
        for _ in range(50):
            if not process.alive():
                return
            time.sleep(0.1)
    raise LabError(
        f"Process {process.pid} of the lab did not end, even after SIGKILL. "
        "Run again: dirtune lab down"
    )


def clear(place: Folder) -> None:
    """Remove the control groups and the folder of a lab whose processes have ended.

    Raises `LabError` if a process remains in a control group.
    """
    place.require_own()
    groups = cgroups.find(place.path)
    for _ in range(100):
        if cgroups.remove_when_empty(groups):
            break
        time.sleep(0.1)
    else:
        raise LabError(
            "The lab cannot be removed, because processes remain in its control groups. "
            "End those processes, then run: dirtune lab down"
        )
    shutil.rmtree(place.path, ignore_errors=True)
