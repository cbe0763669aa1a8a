"""Connect to other machines by their SSH names. No other package contacts another machine.

ssh(1) makes the connections, so dirtune reaches the same hosts as ssh: with the operator's
ssh_config (`--ssh-config`, `$DIRTUNE_SSH_CONFIG`, or ssh's default), jump hosts, agent, open
connections and known_hosts. The settings in `config.FORCED` always apply: host keys are checked,
no password is entered, and nothing is forwarded. The name `local` means this machine and needs no
SSH.
"""

import asyncio
import shlex
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from dirtune import signals, ssh_names
from dirtune.errors import DirtuneError, NodeUnreachable, NotPossible, ParseError
from dirtune.exit_status import fault
from dirtune.remote import config, room, spawn
from dirtune.remote.node import GUARD, MISSING, Finished, Node, Process
from dirtune.remote.target import Target
from dirtune.ssh_names import LOCAL

__all__ = [
    "CONNECTIONS_AT_ONCE",
    "DOCUMENT_BYTES",
    "FETCHED_BYTES",
    "GUARD",
    "LOCAL",
    "LOG_BYTES",
    "MISSING",
    "Finished",
    "Node",
    "Process",
    "Target",
    "ask_all",
    "connect",
    "connect_all",
    "fetch_all",
    "parsed",
    "together",
]

T = TypeVar("T")

CONNECTIONS_AT_ONCE = 32
DOCUMENT_BYTES = 8 * 2**20
"""Limit of an answer from a host's dirtune; decoded JSON takes up to 30 times as much memory."""
FETCHED_BYTES = 64 * 2**20
"""Limit of a host's answer to an audit: twice the size that 512 CPUs and 4,096 interrupts need."""
LOG_BYTES = 256 * 2**20
"""Limit of a generator's output, which has one line for each request."""
_LARGE = 2**20
"""An answer with more characters than this is parsed in a thread."""
_PARSERS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="answers")


async def connect(
    host: str,
    *,
    ssh_config: Path | None = None,
    become: bool = False,
    target: Target | None = None,
) -> Node:
    """Return a connection to *host*: a name that ssh knows, `user@name`, or `local`.

    With *target*, *host* is only its name in messages. With *become*, every command runs through
    `sudo -n`. Raises `NodeUnreachable`, with the host's
    name and the remedy, if the connection fails.
    """
    target = target or Target(host)
    if target.name == LOCAL:
        return Node(LOCAL, become=become)
    if refusal := ssh_names.refusal(target.name):
        raise NodeUnreachable(f"{ssh_names.shown(host)}: {refusal}")
    chosen = config.chosen(ssh_config)
    session = await spawn.session()
    try:
        way = config.way(target.name, chosen, session, target.section)
        node = Node(host, way, become=become)
    except OSError as error:  # a full disk, too many open files
        raise NodeUnreachable(
            f"{host}: ssh could not be started on this machine: {error.strerror}"
        ) from error
    try:
        await node.open()
    except NodeUnreachable as error:
        await node.close()
        by_hand = ("ssh", *(("-F", str(chosen)) if chosen else ()), "-o", "BatchMode=yes")
        settings = (word for row in target.rows for word in ("-o", row))
        more = shlex.join((*by_hand, *settings, target.name, "true"))
        raise NodeUnreachable(f"{error}. Run `{more}` to see the details") from error
    except BaseException:
        await node.close()
        raise
    return node


async def connect_all(
    hosts: Sequence[str], *, ssh_config: Path | None = None, become: frozenset[str] = frozenset()
) -> tuple[dict[str, Node], dict[str, NodeUnreachable]]:
    """Connect to each host once. Return the nodes and the errors, each in a dict by host."""
    opened: list[Node] = []

    async def one(host: str) -> Node:
        opened.append(await connect(host, ssh_config=ssh_config, become=host in become))
        return opened[-1]

    try:
        answers = await _each(hosts, one)
    except BaseException:
        await asyncio.gather(*(node.close() for node in opened))
        raise
    nodes = {host: node for host, node in answers.items() if isinstance(node, Node)}
    others = {host: error for host, error in answers.items() if not isinstance(error, Node)}
    lost = {host: _unreachable(error) for host, error in others.items()}
    return nodes, lost


def _unreachable(error: NodeUnreachable | NotPossible) -> NodeUnreachable:
    return error if isinstance(error, NodeUnreachable) else NodeUnreachable(str(error))


async def together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all *works* at once and return their results.

    If some of them fail, raise the first error once all have ended.
    """
    done = await asyncio.gather(*works, return_exceptions=True)
    for result in done:
        if isinstance(result, BaseException):
            raise result
    return [result for result in done if not isinstance(result, BaseException)]


def fetch_all(  # noqa: PLR0913  (all by name: how to reach the hosts)
    hosts: Sequence[str],
    command: str | Sequence[str],
    use: Callable[[str], T],
    *,
    timeout_s: float = 60,
    ssh_config: Path | None = None,
    become: frozenset[str] = frozenset(),
    targets: Mapping[str, Target] = MappingProxyType({}),
) -> dict[str, T | NodeUnreachable | NotPossible]:
    """Run *command* on every host and return what *use* makes of each output, by host.

    *targets* says how to reach hosts that ssh knows by another name. The hosts run the command in
    parallel, with at most `CONNECTIONS_AT_ONCE` connections. *use*
    gets a host's output as soon as the host has answered, while other hosts are still running. The
    result of a host is an error if the host cannot be reached, does not answer within *timeout_s*
    or sends more than `FETCHED_BYTES`, if the command fails, or if *use* raises `ParseError`. An
    error on one host does not affect the others.
    """

    async def one(host: str) -> T:
        reach = connect(
            host, ssh_config=ssh_config, become=host in become, target=targets.get(host)
        )
        async with await reach as node:
            text = await node.run(command, timeout_s=timeout_s, most_bytes=FETCHED_BYTES)
        return await parsed(text, use)

    return signals.run(_each(hosts, one))


def ask_all(
    hosts: Sequence[str],
    ask: Callable[[Node], Awaitable[T]],
    *,
    ssh_config: Path | None = None,
    become: frozenset[str] = frozenset(),
    targets: Mapping[str, Target] = MappingProxyType({}),
) -> dict[str, T | NodeUnreachable | NotPossible]:
    """Return the result of *ask* by host; for a host that fails, the result is the error."""

    async def one(host: str) -> T:
        reach = connect(
            host, ssh_config=ssh_config, become=host in become, target=targets.get(host)
        )
        async with await reach as node:
            return await ask(node)

    return signals.run(_each(hosts, one))


async def parsed(text: str, use: Callable[[str], T]) -> T:
    """Return the result of *use* for a host's answer, without delaying other hosts.

    Only a large answer is parsed in a thread. A thread and the event loop compete for the
    interpreter's lock, which costs more than the few milliseconds that an ordinary answer takes.
    At most two large answers are parsed at the same time, because each may take many times its
    size in memory. Raises `ParseError` if the answers of all hosts together exceed the memory
    limit.
    """
    if len(text) <= _LARGE:
        return _used(text, use)
    return await asyncio.get_running_loop().run_in_executor(_PARSERS, _used, text, use)


def _used(text: str, use: Callable[[str], T]) -> T:
    if not room.left():
        raise ParseError("the answer was dropped", room.FULL)
    return use(text)


async def _each(
    hosts: Sequence[str], ask: Callable[[str], Awaitable[T]]
) -> dict[str, T | NodeUnreachable | NotPossible]:
    """Return the result of *ask* by host; for a host that fails, the result is the error.

    Each host is asked once, at most `CONNECTIONS_AT_ONCE` of them in parallel.
    """
    gate = asyncio.Semaphore(CONNECTIONS_AT_ONCE)

    async def one(host: str) -> T | NodeUnreachable | NotPossible:
        async with gate:
            try:
                return await ask(host)
            except (NodeUnreachable, NotPossible) as error:
                return error
            except ParseError as error:
                return NotPossible(f"{host}: {error}")
            except DirtuneError:  # not about this host, such as a missing ssh_config
                raise
            except Exception as error:  # noqa: BLE001  (one host's text must not cost the others)
                return NotPossible(f"{host}: {fault(error)}")

    unique = tuple(dict.fromkeys(hosts))
    return dict(zip(unique, await asyncio.gather(*map(one, unique)), strict=True))
