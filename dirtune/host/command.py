"""Run commands on this machine."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO

from dirtune.errors import NotPossible, require_files
from dirtune.host.texts import readable

NOBODY = 65534
"""The user and the group that own nothing, on every Linux distribution."""
_CONFINED_BYTES = 1 << 30
_COMPLAINT_BYTES = 1 << 16
"""The end of a command's standard error that is read."""


def run_bounded(
    argv: Sequence[str], *, timeout_s: float, most_bytes: int, confined: bool = False
) -> str:
    """Run *argv* as `run` does; a command that prints more than *most_bytes* is ended.

    A *confined* command parses a file of strangers: it has at most 1 GiB of memory, a session
    without a terminal, and nothing of the environment except PATH. If root runs dirtune, the
    command runs as nobody. Raises `NotPossible` as `run` does, and if the
    command prints too much.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        # The kernel ends a process that makes a file larger than its limit (SIGXFSZ).
        limits = [f"--fsize={most_bytes}", *([f"--as={_CONFINED_BYTES}"] if confined else [])]
        complaint = ""
        try:
            _done(("prlimit", *limits, "--", *argv), timeout_s, out, err, confined=confined)
        except NotPossible as error:
            complaint = str(error).removeprefix(f"prlimit {' '.join(limits)} -- ")
        if out.seek(0, os.SEEK_END) >= most_bytes:
            raise NotPossible(f"{argv[0]}: the output is larger than {most_bytes >> 20} MiB")
        if complaint:
            raise NotPossible(complaint)
        out.seek(0)
        return readable(out.read())


def run(argv: Sequence[str], *, timeout_s: float = 60, check: bool = True) -> str:
    """Run *argv* on this machine and return its standard output.

    Raises `NotPossible`, with the reason, if the command cannot be started, fails (unless *check*
    is False) or does not end within *timeout_s* seconds.
    """
    return readable(_done(argv, timeout_s, subprocess.PIPE, check=check).stdout)


def _done(
    argv: Sequence[str],
    timeout_s: float,
    out: "int | IO[bytes]",
    err: "int | IO[bytes]" = subprocess.PIPE,
    *,
    check: bool = True,
    confined: bool = False,
) -> "subprocess.CompletedProcess[bytes]":
    try:
        done = _alone(argv, timeout_s, out, err, confined=confined)
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
        text = done.stderr if isinstance(err, int) else _end(err)
        complaint = readable(text or done.stdout or b"").strip().splitlines()
        status = f"the command failed with exit status {done.returncode}"
        reason = complaint[-1] if complaint else status
        raise NotPossible(f"{' '.join(argv)}: {reason}")
    return done


def _end(file: "IO[bytes]") -> bytes:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _COMPLAINT_BYTES))
    return file.read()


def _alone(
    argv: Sequence[str],
    timeout_s: float,
    out: "int | IO[bytes]",
    err: "int | IO[bytes]",
    *,
    confined: bool,
) -> "subprocess.CompletedProcess[bytes]":
    """Run *argv* in its own process group, so that Ctrl-C in the terminal reaches only dirtune.

    Otherwise Ctrl-C during an undo would end the command that undoes the change. If dirtune stops
    waiting for the command, it kills the whole group.
    """
    nobody = NOBODY if confined and os.geteuid() == 0 else None
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=err,
        # A new session leads a process group of its own as well.
        process_group=None if confined else 0,
        start_new_session=confined,
        env={"PATH": os.environ.get("PATH", os.defpath)} if confined else None,
        user=nobody,
        group=nobody,
        extra_groups=None if nobody is None else (),
    ) as process:
        try:
            printed, complaint = process.communicate(timeout=timeout_s)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
        return subprocess.CompletedProcess(argv, process.returncode, printed, complaint)


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
