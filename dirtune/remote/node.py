"""Run commands on one machine, either this one or another one over SSH.

* Each command runs in its own process group, and dirtune ends it only by the number of the group.
  The command reports the number after a random mark, so that text which the login shell printed
  earlier is skipped.
* A script is sent to a node on standard input. The login shell, of whatever kind, gets only one
  short line, without any character that shells interpret differently.
* A connection is one ssh(1) process. Its own session (the keeper) sends signals, and ends when its
  input is closed; all other sessions use its socket. If dirtune is killed, the inputs are closed,
  which ends everything that dirtune runs on the node.
"""

import asyncio
import os
import random
import secrets
import shlex
import time
from asyncio.subprocess import Process as Pipes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Self

from dirtune.errors import NodeUnreachable, NotInstalled, NotPossible
from dirtune.remote import reasons, spawn, streams
from dirtune.remote.config import Way

_LOGIN_S = 40
"""Longest time in seconds for a complete login, including jump hosts and the first session."""
_PAUSES_S = (0.5, 1, 2, 4)
"""The longest pause, in seconds, before each new attempt to log in to an overloaded server."""
_START_S = 20
_SEND_S = 60
"""Longest time in seconds until the node has read a part of `_PART_BYTES`."""
_SEND_ALL_S = 900
"""Longest time in seconds until the node has read all parts."""
_PART_BYTES = 2**18
_GRACE_S = 2
_SOON_S = 0.5
MISSING = 127
"""Exit status of a shell that did not find the command."""
_SSH_FAILED = 255

GUARD = (
    'exec 3<&0 </dev/null; ( cat <&3; kill -s TERM -- "-$group" ) >/dev/null 2>&1 & exec 3<&-; '
)
"""Shell code that ends the process group once its input is closed; the script itself gets no
input."""
_HEAD = (
    'read -r p c s q group rest </proc/$$/stat; printf "\\n%s %s\\n" {mark} "$group"; '
    "PATH=${{PATH:-/usr/bin:/bin}}:/opt/dirtune/bin:/usr/local/bin:/usr/sbin:/sbin; export PATH; "
)
_KEEPER = 'while read -r signal number; do kill -s "$signal" -- "-$number" 2>/dev/null; done'


@dataclass(frozen=True, slots=True)
class Finished:
    """The result of a command that ended."""

    status: int | None
    """Exit status; negative if a signal on this machine ended it, None if the node did not report
    one."""
    stdout: str
    stderr: str


_AS_ROOT = 'sh -c \'test $(id -u) = 0 || exec sudo -n sh -c "$0"; eval "$0"\' '
"""Words for a login shell, of whatever kind, that run the shell code in the next word as root."""


class _HungUp(NodeUnreachable):
    """The server closed the connection before it sent its host key."""


class Process:
    """A command on a node, in its own process group; leaving the context ends the group."""

    def __init__(
        self, node: "Node", pipes: Pipes, group: int, complaints: "asyncio.Task[str]"
    ) -> None:
        self.group = group
        self._node = node
        self._pipes = pipes
        self._complaints = complaints

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end()

    @property
    def running(self) -> bool:
        """Whether the command still runs, as far as this machine knows."""
        return self._pipes.returncode is None

    async def send(self, text: str) -> None:
        """Write *text* to the standard input of the command."""
        await self.send_bytes(text.encode())

    async def send_bytes(self, data: bytes) -> None:
        """Write *data* to the standard input of the command, as fast as the node reads it."""
        with self._node.errors():
            async with asyncio.timeout(_SEND_ALL_S):
                for start in range(0, len(data), _PART_BYTES):
                    part = data[start : start + _PART_BYTES]
                    await asyncio.wait_for(spawn.write(self._pipes, part), _SEND_S)

    async def line(self, *, timeout_s: float, most_bytes: int = streams.LINE_BYTES) -> str:
        """Return the next line of output, of at most *most_bytes*, without its newline.

        Raises `NodeUnreachable` at the end of the output.
        """
        assert self._pipes.stdout is not None
        with self._node.errors():
            text = await asyncio.wait_for(streams.line(self._pipes.stdout, most_bytes), timeout_s)
        if text is None:
            raise NodeUnreachable(
                f"{self._node.name}: the command ended too early, before its output was complete"
            )
        return text

    async def lines_before(
        self, end: str, *, timeout_s: float, most_bytes: int = streams.LINE_BYTES
    ) -> list[str]:
        """Return the lines of output before the line *end*, all within *timeout_s*."""
        assert self._pipes.stdout is not None
        with self._node.errors():
            lines = streams.lines_before(self._pipes.stdout, end, most_bytes)
            return await asyncio.wait_for(lines, timeout_s)

    async def finish(
        self, *, timeout_s: float, most_bytes: int = streams.ANSWER_BYTES
    ) -> Finished:
        """Wait until the command exits; return its result with the output not read so far."""
        assert self._pipes.stdout is not None
        with self._node.errors():
            async with asyncio.timeout(timeout_s):
                out = await streams.answer(self._pipes.stdout, most_bytes)
                status = await self._pipes.wait()
                err = await self._complaints
        return Finished(await self._node.status(status), out, err)

    async def end(self, *, within_s: float = _GRACE_S) -> None:
        """End the command's process group with SIGTERM; kill it if that takes too long.

        Pass a longer *within_s* for a shell that undoes changes before it ends.
        """
        try:
            if self.running and self._node.alive:
                for signal, patience_s in (("TERM", within_s), ("KILL", _GRACE_S)):
                    await self._node.signal(self.group, signal)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._pipes.wait(), patience_s)
                        break
        finally:
            await spawn.reap(self._pipes, self._complaints)

    async def ended_soon(self) -> None:
        """Wait briefly for the command to end: this machine may learn of the end a little late."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._pipes.wait(), _SOON_S)

    async def hang_up(self) -> None:
        """Close the command's input; kill the command if it does not end soon."""
        assert self._pipes.stdin is not None
        self._pipes.stdin.close()
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._pipes.wait(), _GRACE_S)
        finally:
            await spawn.reap(self._pipes, self._complaints)


class Node:
    """One machine, either this one or one reached over SSH. `connect` returns it."""

    def __init__(self, name: str, way: Way | None = None, *, become: bool = False) -> None:
        self.name = name
        self._way = way
        self._become = become
        self._options: tuple[str, ...] = ()
        self._keeper: Process | None = None
        self._attached: list[Process] = []
        self.sent: str | None = None
        """The folder on the node with the dirtune that was sent there; empty if the dirtune that
        is installed there is used, None while that is unknown. `far_dirtune` sets it."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def attach(self, process: Process) -> None:
        """Let *process* run until the connection is closed, which ends its input."""
        self._attached.append(process)

    @property
    def alive(self) -> bool:
        """Whether the connection is still open."""
        return self._way is None or (self._keeper is not None and self._keeper.running)

    @property
    def holds(self) -> bool:
        """Whether the connection is still open, and every attached process runs."""
        return self.alive and all(process.running for process in self._attached)

    def check_alive(self) -> None:
        """Raise `NodeUnreachable` if the connection is lost."""
        if not self.alive:
            raise NodeUnreachable(f"{self.name}: the connection was lost")

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn every error of the connection into `NodeUnreachable`."""
        try:
            yield
        except TimeoutError as error:
            raise NodeUnreachable(f"{self.name}: the host did not answer in time") from error
        except streams.TooMuch as error:
            raise NodeUnreachable(f"{self.name}: {error}") from error
        except EOFError as error:
            raise NodeUnreachable(
                f"{self.name}: the command ended too early, before its output was complete"
            ) from error
        except OSError as error:
            raise NodeUnreachable(f"{self.name}: {error.strerror or error}") from error

    async def open(self) -> None:
        """Log in, over the operator's open connection if there is one, or over a new one."""
        assert self._way is not None
        with self.errors():
            shared, _ = await spawn.output(self._way.argv("-O", "check"))
        if shared != 0:
            self._options = ("-o", f"ControlPath={self._way.socket}")
        self._keeper = await self._logged_in(time.monotonic() + _LOGIN_S)

    async def _logged_in(self, until_s: float) -> Process:
        """Start the keeper; try again if the server, such as a busy jump host, is overloaded."""
        master = bool(self._options)
        for pause_s in _PAUSES_S:
            try:
                return await self._begin(
                    _KEEPER, within_s=until_s - time.monotonic(), master=master
                )
            except _HungUp:
                await asyncio.sleep(random.uniform(pause_s / 2, pause_s))
        return await self._begin(_KEEPER, within_s=until_s - time.monotonic(), master=master)

    async def start(self, script: str, *, guarded: bool = True) -> Process:
        """Start the POSIX shell *script*; its standard input stays open.

        A *guarded* script cannot read the input, and its process group ends with the connection. A
        script that is not guarded reads the input itself, and must exit when the input ends.
        """
        self.check_alive()
        return await self._begin((GUARD if guarded else "") + script, within_s=_START_S)

    async def run(
        self,
        command: str | Sequence[str],
        *,
        timeout_s: float = 60,
        ok: tuple[int, ...] = (0,),
        most_bytes: int = streams.ANSWER_BYTES,
    ) -> str:
        """Run an argument list or a POSIX shell script and return its standard output.

        Raises `NotPossible` if the exit status is not in *ok*. Raises `NodeUnreachable` if no
        answer arrives within *timeout_s* or the answer is longer than *most_bytes*, after it has
        ended the process group of the command.
        """
        script = command if isinstance(command, str) else shlex.join(command)
        done = await self.completed(script, timeout_s=timeout_s, most_bytes=most_bytes)
        if done.status not in ok:
            what = script.split()[0] if script.split() else "sh"
            if done.status == MISSING and not isinstance(command, str):
                raise NotInstalled(f"{self.name}: {what} is not installed there")
            last = reasons.last_line(done.stderr or done.stdout)
            problem = f": {last}" if last else f" failed with exit status {done.status}"
            raise NotPossible(f"{self.name}: {what}{problem}")
        return done.stdout

    async def completed(
        self,
        script: str,
        *,
        text: str | None = None,
        timeout_s: float,
        most_bytes: int,
        grace_s: float = _GRACE_S,
    ) -> Finished:
        """Run a POSIX shell script until it exits, and return its result.

        *text* is the script's standard input, and the script must exit when this input ends.
        Without *text*, the script is guarded: see `start`. A script that takes longer than
        *timeout_s* gets SIGTERM, and is killed *grace_s* later.
        """
        process = await self.start(script, guarded=text is None)
        try:
            if text:
                # A command that ended without reading says why when it is waited for.
                with suppress(NodeUnreachable):
                    await process.send(text)
            return await process.finish(timeout_s=timeout_s, most_bytes=most_bytes)
        finally:
            await process.end(within_s=grace_s)

    async def signal(self, group: int, signal: str) -> None:
        """Send *signal* to one process group, which may have ended already."""
        with suppress(TimeoutError, NodeUnreachable):
            if self._keeper is not None:
                await asyncio.wait_for(self._keeper.send(f"{signal} {group}\n"), _GRACE_S)
            elif self._way is None:
                kill = ("sh", "-c", 'kill -s "$0" -- "-$1"', signal, str(group))
                await spawn.output((*self._sudo, *kill), ssh=False)

    async def status(self, status: int) -> int | None:
        """Return the exit status of a command; None if ssh itself failed."""
        if self._way is None:
            return status
        if status == _SSH_FAILED and self._keeper is not None:
            await self._keeper.ended_soon()
            self.check_alive()
        return None if status in {_SSH_FAILED, -1} else status

    async def close(self) -> None:
        """Close the connection."""
        try:
            for process in (*self._attached, *((self._keeper,) if self._keeper else ())):
                await process.hang_up()
        finally:
            if self._way is not None:
                self._way.close()

    @property
    def _sudo(self) -> tuple[str, ...]:
        return ("sudo", "-n") if self._become and os.geteuid() != 0 else ()

    async def _begin(self, script: str, *, within_s: float, master: bool = False) -> Process:
        mark = secrets.token_hex(8)
        body = _HEAD.format(mark=mark) + script
        with self.errors():
            pipes = await self._pipes(body, master=master)
            assert pipes.stdout is not None
            assert pipes.stderr is not None
            complaints = asyncio.create_task(streams.complaints(pipes.stderr))
            try:
                async with asyncio.timeout(within_s):
                    if self._way is not None:
                        with suppress(OSError):  # ssh says on its standard error why it ended
                            await spawn.write(pipes, body.encode())
                    group, noise = await streams.group_after(pipes.stdout, mark)
                    if group is not None:
                        return Process(self, pipes, group, complaints)
                    status, text = await pipes.wait(), await complaints
                    refusal = await self._refusal(status, text, noise)
            except BaseException:
                # Its group is unknown, so only the end of its input can end it.
                await spawn.reap(pipes, complaints)
                raise
        await spawn.reap(pipes, complaints)
        if self._become and "sudo: " in text:
            raise NotPossible(
                f"{self.name}: the user there is not root, and sudo -n failed "
                f"({reasons.last_line(text)}). Log in as root, or let that user run sudo without "
                "a password"
            )
        raise (_HungUp if reasons.closed_early(text) else NodeUnreachable)(refusal)

    async def _pipes(self, body: str, *, master: bool) -> Pipes:
        if self._way is None:
            argv: tuple[str, ...] = (*self._sudo, "sh", "-c", body)
        else:
            # The login shell reads only this line; head(1) reads the script and no more.
            code = f"'eval \"$(head -c {len(body.encode())})\"'"
            options = (*self._options, *(("-o", "ControlMaster=yes") if master else ()))
            argv = (*self._way.argv(*options), f"{_AS_ROOT if self._become else 'sh -c '}{code}")
        return await spawn.spawn(argv, ssh=self._way is not None)

    async def _refusal(self, status: int, text: str, noise: str) -> str:
        if status == _SSH_FAILED and self._way is not None:
            # ssh has one exit status for all its failures, so only its own text tells them apart.
            locked = await spawn.locked_keys(self._way) if "Permission denied" in text else ()
            known = await spawn.known_as(self._way) if reasons.key_changed(text) else ""
            reason = reasons.reason(self._way.with_operators_path(text), locked, known)
            return f"{self.name}: {reason}"
        if last := reasons.last_line(text):
            return f"{self.name}: {last}"
        if noise:
            return (
                f'{self.name}: before the command ran, the shell printed "{noise[:60]}" and '
                "ended. Let ~/.bashrc print and end only in interactive shells"
            )
        return f"{self.name}: the login shell ended without running the command"
