"""Run commands on this machine."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress

from dirtune.errors import NotPossible, require_files
from dirtune.host.texts import readable


def run(argv: Sequence[str], *, timeout_s: float = 60, check: bool = True) -> str:
    """Run *argv* on this machine and return its standard output.

    Raises `NotPossible`, with the reason, if the command cannot be started, fails (unless *check*
    is False) or does not end within *timeout_s* seconds.
    """
    try:
        done = _alone(argv, timeout_s)
    except FileNotFoundError as error:
        raise NotPossible(f"{argv[0]}: the command was not found") from error
    except subprocess.TimeoutExpired as error:
        raise NotPossible(
            f"{' '.join(argv)}: the command did not end within {timeout_s:g} s"
        ) from error
    except OSError as error:  # not executable, for another architecture, too many processes
        require_files(error)
        raise NotPossible(f"{argv[0]} could not be started: {error.strerror}") from error
    if check and done.returncode:
        complaint = readable(done.stderr or done.stdout).strip().splitlines()
        status = f"the command failed with exit status {done.returncode}"
        reason = complaint[-1] if complaint else status
        raise NotPossible(f"{' '.join(argv)}: {reason}")
    return readable(done.stdout)


def _alone(argv: Sequence[str], timeout_s: float) -> "subprocess.CompletedProcess[bytes]":
    """Run *argv* in its own process group, so that Ctrl-C in the terminal reaches only dirtune.

    Otherwise Ctrl-C during an undo would end the command that undoes the change. If dirtune stops
    waiting for the command, it kills the whole group.
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


def notify(argv: Sequence[str], variables: Mapping[str, str], *, timeout_s: float) -> None:
    """Run *argv*, without a shell, with *variables* added to the environment.

    The command has no input, and its output goes to standard error. Raises `NotPossible` if the
    command cannot be started, fails, or does not end within *timeout_s* seconds; it is then killed
    with its process group.
    """
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=2,
            env={**os.environ, **variables},
            process_group=0,
        )
    except OSError as error:
        require_files(error)
        raise NotPossible(f"{argv[0]} could not be started: {error.strerror}") from error
    try:
        status = process.wait(timeout_s)
    except subprocess.TimeoutExpired as error:
        raise NotPossible(
            f"{argv[0]} did not end within {timeout_s:g} s and was killed"
        ) from error
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if status:
        raise NotPossible(f"{argv[0]} failed with exit status {status}")
