"""Commands of this machine, run to their end."""

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress

from dirtune.errors import NotPossible, require_files
from dirtune.host.texts import readable


def run(argv: Sequence[str], *, timeout_s: float = 60, check: bool = True) -> str:
    """Run *argv* here and return its standard output; `NotPossible` names what failed."""
    try:
        done = _alone(argv, timeout_s)
    except FileNotFoundError as error:
        raise NotPossible(f"{argv[0]}: command not found") from error
    except subprocess.TimeoutExpired as error:
        raise NotPossible(f"{' '.join(argv)}: no answer in {timeout_s:g} s") from error
    except OSError as error:  # not executable, of another machine, too many processes
        require_files(error)
        raise NotPossible(f"{argv[0]}: cannot be started: {error.strerror}") from error
    if check and done.returncode:
        complaint = readable(done.stderr or done.stdout).strip().splitlines()
        raise NotPossible(f"{' '.join(argv)}: {complaint[-1] if complaint else done.returncode}")
    return readable(done.stdout)


def _alone(argv: Sequence[str], timeout_s: float) -> "subprocess.CompletedProcess[bytes]":
    """Run *argv* in a group of its own: what a terminal sends to all of its own is ours to obey.

    A Ctrl-C in the middle of an undo would end the command that undoes. Where it is given up, so
    is all that it started.
    """
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,
    ) as process:
        try:
            out, err = process.communicate(timeout=timeout_s)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
        return subprocess.CompletedProcess(argv, process.returncode, out, err)
