"""Lock open files with flock(2). A process holds a lock until it closes the file or ends."""

import fcntl
import time
from typing import IO, Any

_POLL_S = 0.05


def take(file: IO[Any] | int, *, wait_s: float = 0) -> bool:
    """Take the exclusive lock on *file* within *wait_s* seconds; return whether this succeeded."""
    until_s = time.monotonic() + wait_s
    while not _locked(file, fcntl.LOCK_EX):
        if time.monotonic() >= until_s:
            return False
        time.sleep(_POLL_S)
    return True


def is_taken(file: IO[Any] | int) -> bool:
    """Return whether another process has the lock on *file*."""
    return not _locked(file, fcntl.LOCK_SH)


def _locked(file: IO[Any] | int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
