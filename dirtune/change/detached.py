"""Fork a process that keeps nothing open of the process that forked it."""

import os
from collections.abc import Callable
from pathlib import Path

from dirtune import signals

_FIRST_FREE = 1 << 20


def fork(work: Callable[[], None], errors: Path) -> int:
    """Run *work* in a forked process with a session of its own, and return its process id.

    Its standard error is the file *errors*, where it also writes why *work* failed. The calling
    process must have no other threads.
    """
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.setsid()
        # A lock that stays open here would be held until this process ends.
        os.closerange(0, _FIRST_FREE)
        os.open(os.devnull, os.O_RDONLY)
        os.open(os.devnull, os.O_WRONLY)
        os.open(errors, os.O_WRONLY)
        signals.forget()
        work()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException as error:  # noqa: BLE001  (the outermost place of this process)
        os.write(2, f"{type(error).__name__}: {error}\n".encode(errors="backslashreplace"))
    finally:
        os._exit(status)
