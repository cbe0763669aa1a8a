"""Other machines by their ssh names. The only module that leaves this one.

What ssh(1) would do holds here: ssh_config (`--ssh-config`, `$DIRTUNE_SSH_CONFIG`, else
~/.ssh/config) with its ProxyCommand and ProxyJump, the agent, and known_hosts, always checked.
Never a password: nobody sits at a prompt in the middle of a campaign. The name `local` is this
machine and needs no SSH.

Every command gets a process group of its own and reports its number first, so that it is ended
by that number and by nothing else. The group also ends when its standard input closes: a lost
connection, or a dirtune that was killed, leaves nothing running on the node.
"""

import asyncio
import logging
import os
import shlex
from asyncio.subprocess import PIPE
from asyncio.subprocess import Process as LocalProcess
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from dirtune import signals
from dirtune.errors import NodeUnreachable, NotPossible, ParseError, PlanError

try:
    import asyncssh
except ImportError as missing:
    raise NotPossible("asyncssh is missing: pip install 'dirtune[remote]'") from missing

T = TypeVar("T")

LOCAL = "local"
CONNECTIONS_AT_ONCE = 32
# A peer that vanished without a word is given up after three unanswered probes.
_ALIVE_INTERVAL_S = 3
_ALIVE_PROBES = 3
_CONNECT_S = 20
_GRACE_S = 2
_LINE_LIMIT_BYTES = 2**20

GUARD = (
    'exec 3<&0 </dev/null; ( cat <&3; kill -s TERM -- "-$group" ) >/dev/null 2>&1 & exec 3<&-; '
)
"""Shell: from here on the process group ends with its input, and the script has none."""
_GROUP = 'read -r p c s q group rest </proc/$$/stat; echo "$group"; '
_LOST = (asyncssh.Error, OSError, asyncio.IncompleteReadError)
# A ProxyCommand may end a moment after the connection through it, when the loop is closed.
logging.getLogger("asyncio").addFilter(lambda record: "that handles pid" not in record.msg)


@dataclass(frozen=True, slots=True)
class Finished:
    """What a command left behind."""

    status: int | None
    """Exit status; negative for a signal on this machine, None where the node did not say."""
    stdout: str
    stderr: str


class Process:
    """A command on a node, in a process group of its own; leaving the context ends the group."""

    def __init__(
        self, node: "Node", pipes: "LocalProcess | asyncssh.SSHClientProcess[bytes]", group: int
    ) -> None:
        self.group = group
        self._node = node
        self._pipes = pipes

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end()

    async def send(self, text: str) -> None:
        """Write *text* to the command's standard input."""
        assert self._pipes.stdin is not None
        with self._node.errors():
            self._pipes.stdin.write(text.encode())
            await self._pipes.stdin.drain()

    async def line(self, *, timeout_s: float) -> str:
        """Return the next line of output without its newline; `NodeUnreachable` at the end."""
        assert self._pipes.stdout is not None
        with self._node.errors():
            line = await asyncio.wait_for(self._pipes.stdout.readline(), timeout_s)
        if not line.endswith(b"\n"):
            raise NodeUnreachable(f"{self._node.name}: its command ended before it was told to")
        return line.decode(errors="replace").rstrip("\n")

    async def finish(self, *, timeout_s: float) -> Finished:
        """Wait for the command's own end and return what it printed since the last `line`."""
        assert self._pipes.stdout is not None
        assert self._pipes.stderr is not None
        with self._node.errors():
            texts = asyncio.gather(self._pipes.stdout.read(), self._pipes.stderr.read())
            out, err = await asyncio.wait_for(texts, timeout_s)
            await asyncio.wait_for(_waited(self._pipes), timeout_s)
        self._node.check_alive()
        said = (text.decode(errors="replace") for text in (out, err))
        return Finished(self._pipes.returncode, *said)

    async def end(self) -> None:
        """End the command's process group by its number, at first politely."""
        if self._pipes.returncode is not None or not self._node.alive:
            return
        for signal in ("TERM", "KILL"):
            await self._node.signal(self.group, signal)
            with suppress(TimeoutError, *_LOST):
                await asyncio.wait_for(_waited(self._pipes), _GRACE_S)
                return


class Node:
    """One machine, this one or one reached over SSH. Made by `connect`."""

    def __init__(
        self,
        name: str,
        connection: "asyncssh.SSHClientConnection | None" = None,
        *,
        become: bool = False,
    ) -> None:
        self.name = name
        self._connection = connection
        self._become = become

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def alive(self) -> bool:
        """Whether the connection still stands."""
        return self._connection is None or not self._connection.is_closed()

    def check_alive(self) -> None:
        """Raise `NodeUnreachable` if the connection is gone."""
        if not self.alive:
            raise NodeUnreachable(f"{self.name}: the connection was lost")

    def errors(self) -> "_Errors":
        """Return a context in which what SSH raises becomes `NodeUnreachable`."""
        return _Errors(self.name)

    async def start(self, script: str, *, guarded: bool = True) -> Process:
        """Start the POSIX shell *script*; its standard input stays open.

        A *guarded* script has no input and its group ends when the connection does; one that
        is not guarded reads the input itself and must end with it.
        """
        with self.errors():
            pipes = await self._open(_GROUP + (GUARD if guarded else "") + script)
            assert pipes.stdin is not None
            assert pipes.stdout is not None
            try:
                first = await asyncio.wait_for(pipes.stdout.readline(), _CONNECT_S)
            except BaseException:
                # Its group is not known yet: the end of its input is what ends it.
                pipes.stdin.close()
                raise
        if not first.strip().isdigit():
            raise NodeUnreachable(f"{self.name}: {await _complaint(pipes)}")
        return Process(self, pipes, int(first))

    async def run(
        self,
        command: str | Sequence[str],
        *,
        timeout_s: float = 60,
        ok: tuple[int, ...] = (0,),
    ) -> str:
        """Run an argument list or a POSIX shell script and return its standard output.

        `NotPossible` if its exit status is not in *ok*; `NodeUnreachable` without an answer in
        *timeout_s*, when its process group has been ended.
        """
        script = command if isinstance(command, str) else shlex.join(command)
        async with await self.start(script) as process:
            done = await process.finish(timeout_s=timeout_s)
        if done.status not in ok:
            what = script.split()[0] if script.split() else "sh"
            said = (done.stderr or done.stdout).strip().splitlines()
            why = said[-1] if said else f"exit status {done.status}"
            raise NotPossible(f"{self.name}: {what}: {why}")
        return done.stdout

    async def signal(self, group: int, signal: str) -> None:
        """Send *signal* to one process group, which may be gone already."""
        with suppress(TimeoutError, NodeUnreachable, *_LOST):
            pipes = await self._open(f"kill -s {signal} -- -{group} 2>/dev/null")
            await asyncio.wait_for(_waited(pipes), _GRACE_S)

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            with suppress(TimeoutError, *_LOST):
                await asyncio.wait_for(self._connection.wait_closed(), _GRACE_S)

    async def _open(self, script: str) -> "LocalProcess | asyncssh.SSHClientProcess[bytes]":
        argv = (*(("sudo", "-n") if self._become else ()), "sh", "-c", script)
        if self._connection is None:
            return await asyncio.create_subprocess_exec(
                *argv,
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                limit=_LINE_LIMIT_BYTES,
                start_new_session=True,
            )
        return await self._connection.create_process(f"exec {shlex.join(argv)}", encoding=None)


class _Client(asyncssh.SSHClient):
    """Gives no password, and knows when one was asked for."""

    asked: str | None = None

    def password_auth_requested(self) -> None:
        self.asked = "it asks for a password, which is never given, and accepted no key"

    def kbdint_auth_requested(self) -> None:
        self.password_auth_requested()


class _Errors:
    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, TimeoutError):
            raise NodeUnreachable(f"{self._name}: no answer in time") from error
        if isinstance(error, _LOST):
            raise NodeUnreachable(f"{self._name}: {_reason(error)}") from error


async def connect(host: str, *, ssh_config: Path | None = None, become: bool = False) -> Node:
    """Return a connection to *host*, a name ssh knows, `user@name`, or `local`.

    *become* runs every command through `sudo -n`. `NodeUnreachable` names host and remedy.
    """
    if host == LOCAL:
        return Node(host, become=become)
    user, _, name = host.rpartition("@")
    config = _config(ssh_config)
    client = _Client()
    try:
        options = asyncssh.SSHClientConnectionOptions(
            config=() if config is None else [str(config)],
            host=name,
            client_factory=lambda: client,
            password_auth=True,
            kbdint_auth=True,
            keepalive_interval=_ALIVE_INTERVAL_S,
            keepalive_count_max=_ALIVE_PROBES,
            connect_timeout=_CONNECT_S,
            login_timeout=_CONNECT_S,
            **({"username": user} if user else {}),
        )
        _check_host_keys(options)
        connection = await asyncssh.connect(name, options=options, **_proxy(options))
    except (*_LOST, TimeoutError, ValueError) as error:
        reason = client.asked or _reason(error)
        raise NodeUnreachable(_refusal(host, config, reason)) from error
    return Node(host, connection, become=become)


async def connect_all(
    hosts: Sequence[str], *, ssh_config: Path | None = None, become: frozenset[str] = frozenset()
) -> tuple[dict[str, Node], dict[str, NodeUnreachable]]:
    """Return the nodes that answered and why the others did not, by host, each host once."""
    found = await _each(
        hosts, lambda host: connect(host, ssh_config=ssh_config, become=host in become)
    )
    nodes = {host: node for host, node in found.items() if isinstance(node, Node)}
    lost = {host: node for host, node in found.items() if isinstance(node, NodeUnreachable)}
    return nodes, lost


async def together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Wait for all *works*, then raise the first failure, so that none fails unheard."""
    done = await asyncio.gather(*works, return_exceptions=True)
    for result in done:
        if isinstance(result, BaseException):
            raise result
    return [result for result in done if not isinstance(result, BaseException)]


def fetch_all(
    hosts: Sequence[str],
    script: str,
    use: Callable[[str], T],
    *,
    timeout_s: float = 60,
    ssh_config: Path | None = None,
    become: frozenset[str] = frozenset(),
) -> dict[str, T | NodeUnreachable | NotPossible]:
    """Run *script* on every host and return what *use* makes of each output, by host.

    All at the same time, `CONNECTIONS_AT_ONCE` of them connected at once; *use* is given a host's
    output when it has answered, while others are still asked. A host that cannot be reached, does
    not answer in *timeout_s*, refuses, or whose answer is a `ParseError`, gives its own error; the
    others are not held up.
    """

    async def one(host: str) -> T:
        async with await connect(host, ssh_config=ssh_config, become=host in become) as node:
            text = await node.run(script, timeout_s=timeout_s)
        # Here and not in a thread: a loop that must wait for the interpreter's lock at every
        # packet loses more than the milliseconds that it stands still now.
        return use(text)

    return signals.run(_each(hosts, one))


async def _each(
    hosts: Sequence[str], ask: Callable[[str], Awaitable[T]]
) -> dict[str, T | NodeUnreachable | NotPossible]:
    """Ask every host once, `CONNECTIONS_AT_ONCE` at once; what cannot be done is its own error."""
    gate = asyncio.Semaphore(CONNECTIONS_AT_ONCE)

    async def one(host: str) -> T | NodeUnreachable | NotPossible:
        async with gate:
            try:
                return await ask(host)
            except (NodeUnreachable, NotPossible) as error:
                return error
            except ParseError as error:
                return NotPossible(f"{host}: {error}")

    names = tuple(dict.fromkeys(hosts))
    return dict(zip(names, await asyncio.gather(*map(one, names)), strict=True))


def parse_object(host: str, argv: Sequence[str], text: str) -> dict[str, object]:
    """Return the JSON object in *text*; `NotPossible` says which command printed none."""
    try:
        return msgspec.json.decode(text, type=dict[str, object])
    except msgspec.DecodeError as error:
        what = shlex.join(argv)
        raise NotPossible(f"{host}: `{what}` printed no JSON; is dirtune there ours?") from error


async def _waited(pipes: "LocalProcess | asyncssh.SSHClientProcess[bytes]") -> None:
    await (pipes.wait() if isinstance(pipes, LocalProcess) else pipes.wait_closed())


async def _complaint(pipes: "LocalProcess | asyncssh.SSHClientProcess[bytes]") -> str:
    assert pipes.stderr is not None
    with suppress(TimeoutError, *_LOST):
        text = await asyncio.wait_for(pipes.stderr.read(), _GRACE_S)
        if text.strip():
            return text.decode(errors="replace").strip().splitlines()[-1]
    return "no POSIX shell answered"


def _config(given: Path | None) -> Path | None:
    named = os.environ.get("DIRTUNE_SSH_CONFIG")
    path = given or (Path(named) if named else None)
    if path is not None and not path.is_file():
        raise PlanError(f"{path}: no such ssh_config file")
    return path


def _check_host_keys(options: asyncssh.SSHClientConnectionOptions) -> None:
    # asyncssh reads `UserKnownHostsFile none` as "trust anyone".
    if options.known_hosts is None:
        raise ValueError("UserKnownHostsFile is none, and host keys are always checked")


def _proxy(options: asyncssh.SSHClientConnectionOptions) -> dict[str, list[str]]:
    # ssh hands ProxyCommand to a shell and leaves its standard error alone; asyncssh splits it
    # itself, and takes a closed standard error for the end of the connection. The outer shell
    # keeps that one open.
    if not options.proxy_command:
        return {}
    command = options.config.get("ProxyCommand")
    return {"proxy_command": ["sh", "-c", f"({command}\n) 2>/dev/null; exit"]}


def _refusal(host: str, config: Path | None, reason: str) -> str:
    by_hand = f"ssh {f'-F {config} ' if config else ''}-o BatchMode=yes {host} true"
    return f"{host}: {reason}; see what `{by_hand}` says"


def _reason(error: BaseException) -> str:
    match error:
        case asyncssh.HostKeyNotVerifiable():
            return "its host key is not in known_hosts"
        case asyncssh.PermissionDenied():
            return "no key of the agent or the ssh_config was accepted"
        case TimeoutError():
            return f"no answer in {_CONNECT_S} s"
        case OSError(strerror=str(text)):
            return text
    return (str(error).strip() or type(error).__name__).splitlines()[0]
