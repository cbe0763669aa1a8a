"""Start ssh(1) and its helpers on this machine, without a terminal for questions."""

import asyncio
import os
import shutil
import signal
from asyncio.subprocess import PIPE
from asyncio.subprocess import Process as Pipes
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from dirtune import signals
from dirtune.collect.os_release import read_os_release
from dirtune.errors import NodeUnreachable
from dirtune.host import LiveHost
from dirtune.packages import lacks
from dirtune.remote import config, streams
from dirtune.remote.config import Way

_HELPER_S = 5
_GRACE_S = 2
_MOST_KEYS = 16
_BIND = ("setpriv", "--pdeathsig", "TERM")
_BINDING: list[tuple[str, ...]] = []
"""The result of trying setpriv(1): `_BIND`, or an empty tuple if it cannot do this. The list is
empty before the trial."""
_SESSION: list[str] = []
"""The result of trying ssh: `config.SESSION`, or an empty text if ssh does not know these
settings. The list is empty before the trial."""


async def spawn(argv: Sequence[str], *, ssh: bool = True) -> Pipes:
    """Start *argv* in its own session (setsid(2)), with pipes for its three streams.

    If setpriv(1) is installed, the kernel ends ssh when this process ends. Without setpriv(1), an
    ssh to a host that hangs may run for ever.
    """
    bound = await _bound_to_us() if ssh and shutil.which(argv[0]) else ()
    try:
        return await asyncio.create_subprocess_exec(
            *bound,
            *argv,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            limit=streams.LINE_BYTES,
            start_new_session=True,
            env=config.environment() if ssh else None,
        )
    except FileNotFoundError as error:
        why = f"{argv[0]} is not installed on this machine"
        if ssh:
            why = lacks(read_os_release(LiveHost()), "ssh")
        raise NodeUnreachable(why) from error


async def _bound_to_us() -> tuple[str, ...]:
    """Return the words to put before a command, so that it ends when this process ends."""
    if not _BINDING:
        try:
            status, _ = await output((*_BIND, "true"), ssh=False)
        except NodeUnreachable:
            status = None
        _BINDING.append(_BIND if status == 0 else ())
    return _BINDING[0]


async def session() -> str:
    """Return `config.SESSION`, or an empty text if ssh does not know its settings."""
    if not _SESSION:
        rows = (row for row in config.SESSION.splitlines() if not row.startswith("#"))
        options = (word for row in rows for word in ("-o", row))
        status, _ = await output(("ssh", "-F", "none", *options, "-G", "--", "any"))
        _SESSION.append(config.SESSION if status == 0 else "")
    return _SESSION[0]


async def write(pipes: Pipes, data: bytes) -> None:
    """Write *data* to a process, and wait until the process has read it."""
    assert pipes.stdin is not None
    pipes.stdin.write(data)
    await pipes.stdin.drain()


async def reap(pipes: Pipes, complaints: "asyncio.Task[str] | None" = None) -> None:
    """End a process on this machine if it is still running, and close its streams.

    *complaints* is the task that reads the standard error of the process; it is cancelled.
    """
    if pipes.stdin is not None:
        pipes.stdin.close()
    if pipes.returncode is None:
        signals.send(pipes.pid, signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(pipes.wait(), _GRACE_S)
    if pipes.returncode is None:
        signals.send(pipes.pid, signal.SIGKILL)
        await pipes.wait()
    if complaints is not None:
        complaints.cancel()
        await asyncio.gather(complaints, return_exceptions=True)
    if pipes.stdin is not None:
        # Input that the process never read is an error of the pipe, which asyncio would log.
        with suppress(OSError, TimeoutError):
            await asyncio.wait_for(asyncio.shield(pipes.stdin.wait_closed()), _GRACE_S)
    pipes._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001  # no other way


async def output(argv: Sequence[str], *, ssh: bool = True) -> tuple[int | None, str]:
    """Run a helper without input. Return its exit status, and its output followed by its errors.

    Return None and an empty text if the helper takes too long or prints too much.
    """
    pipes = await spawn(argv, ssh=ssh)
    assert pipes.stdin is not None
    assert pipes.stdout is not None
    assert pipes.stderr is not None
    pipes.stdin.close()
    complaints = asyncio.create_task(streams.complaints(pipes.stderr))
    try:
        async with asyncio.timeout(_HELPER_S):
            text = await streams.answer(pipes.stdout, streams.ERRORS_BYTES)
            return await pipes.wait(), text + await complaints
    except (TimeoutError, streams.TooMuch):
        return None, ""
    finally:
        await reap(pipes, complaints)


async def known_as(way: Way) -> str:
    """Return the name under which known_hosts lists the host of *way*."""
    values = dict(await _settings(way))
    name, port = values.get("hostname", way.name).lower(), values.get("port", "22")
    return values.get("hostkeyalias") or (name if port == "22" else f"[{name}]:{port}")


async def locked_keys(way: Way) -> tuple[str, ...]:
    """Return the private keys for *way* that need a passphrase.

    A key in the agent needs no passphrase any more.
    """
    names = [path for key, path in await _settings(way) if key == "identityfile"]
    _, held = await output(("ssh-add", "-L"))
    locked = []
    for name in dict.fromkeys(names[:_MOST_KEYS]):
        path = Path(os.path.expanduser(name))  # noqa: PTH111  # an unknown user is no error
        if path.is_file() and not _in_agent(path, held):
            status, printed = await output(("ssh-keygen", "-y", "-P", "", "-f", str(path)))
            if status and "passphrase" in printed:
                locked.append(str(path))
    return tuple(locked)


async def _settings(way: Way) -> list[tuple[str, str]]:
    """Return ssh's configuration for *way*, as names and values."""
    _, text = await output(way.argv("-G"))
    return [_pair(row) for row in text.splitlines()]


def _pair(row: str) -> tuple[str, str]:
    key, _, value = row.partition(" ")
    return key, value


def _in_agent(path: Path, held: str) -> bool:
    try:
        words = path.with_name(f"{path.name}.pub").read_text(errors="replace").split()
    except OSError:
        return False
    return len(words) > 1 and words[1] in held
