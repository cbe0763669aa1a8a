"""Run dirtune on another host, and read the JSON document that it prints.

Both hosts must have the same version: the far dirtune refuses a caller of another version before
it does anything (`--require-version`), and the caller refuses every answer except the expected
document. If the host has no dirtune of this version, `pushing` sends the one file, unless the
options (`sending`) or the plan name the dirtune to use. An answer is limited in size and in time.
Its text may be printed, but is never executed.
"""

import asyncio
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from dirtune import __version__, remote, sending
from dirtune.errors import NotInstalled, NotPossible
from dirtune.exit_status import CANNOT
from dirtune.formats import from_json
from dirtune.remote import DOCUMENT_BYTES, MISSING, parsed, pushing
from dirtune.remote.node import Finished, Node
from dirtune.signals import to_the_end
from dirtune.ssh_names import LOCAL

T = TypeVar("T")

PROGRAM = "dirtune"
"""The command that starts an installed dirtune, unless a plan names another one."""
_REQUIRE = "--require-version"
_OTHER_VERSION = ", and the dirtune that calls it is version "
"""Part of the message with which a dirtune of another version refuses its caller."""
_REMEDY = f"Install dirtune {__version__} there"
_HANDSHAKE_S = 60
_HANDSHAKE_BYTES = 2**16
UNDO_S = 30
"""Longest time in seconds in which a far dirtune may undo its changes before it is killed."""
_LONGEST = 1000
"""Number of characters of an error message that are shown."""


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """The answer of dirtune on another host."""

    document: T
    status: int
    """Exit status."""
    warnings: tuple[str, ...]
    """The lines that the far dirtune printed to standard error."""


@dataclass(frozen=True, slots=True)
class FarDirtune:
    """The dirtune on *node*, which the command *program* starts."""

    node: Node
    program: str
    """The key `dirtune` of a node in a plan: a command, which may have arguments."""

    def script(self, words: Sequence[str]) -> str:
        """Return the shell script that becomes a dirtune with *words*, which prints JSON."""
        return self.command((*words, "--format", "json"))

    def arguments(self, words: Sequence[str]) -> tuple[str, ...]:
        """Return the arguments of dirtune that let it run *words* and print JSON."""
        return (_REQUIRE, __version__, *words, "--format", "json")

    def command(self, words: Sequence[str]) -> str:
        """Return the shell script that becomes a dirtune with *words*, whatever they print."""
        # Without a shell in between, which would end before dirtune has undone its changes.
        run = f"exec {shlex.join((*self._program, _REQUIRE, __version__, *words))}"
        if not self.node.sent:
            return run
        # Once its holder is gone, another user could make a folder of that name.
        there = shlex.quote(self.node.sent)
        own = f"[ -d {there} ] && [ ! -L {there} ] && [ -O {there} ] || exit {MISSING}; "
        return f"{own}{pushing.STARTED}started $$ >{there}/use.$$; {run}"

    @property
    def _program(self) -> tuple[str, ...]:
        if not self.node.sent:
            return tuple(self.program.split())
        folder = self.node.sent
        return ("env", f"DIRTUNE_CACHE={folder}/cache", f"{folder}/dirtune")

    async def ready(self) -> None:
        """Send dirtune to the node if no dirtune of this version is there.

        Raises the error that `ask` would raise.
        """
        if self.node.sent is None:
            done = await self._run(("--version",), None, _HANDSHAKE_S, _HANDSHAKE_BYTES)
            if done.status != 0:
                raise self.refusal(done)

    async def ask(
        self,
        words: Sequence[str],
        kind: type[T],
        *,
        timeout_s: float,
        ok: tuple[int, ...] = (0,),
        text: str | None = None,
    ) -> Answer[T]:
        """Run the far dirtune with *words*, and return the document of *kind* that it prints.

        *text* is the standard input, and the command must exit when this input ends. Without
        *text*, the command ends with the connection. Raises `NotPossible`, with the far dirtune's
        error message, if the exit status is not in *ok*. Raises `NotPossible` too if the far
        dirtune has another version or prints another document. Raises `NotInstalled` if dirtune is
        missing there. Raises `NodeUnreachable` if no answer arrives within *timeout_s*, or if the
        answer is longer than `DOCUMENT_BYTES`.
        """
        done = await self._run((*words, "--format", "json"), text, timeout_s, DOCUMENT_BYTES)
        return await self.answer(words, done, kind, ok=ok)

    async def answer(
        self, words: Sequence[str], done: Finished, kind: type[T], *, ok: tuple[int, ...]
    ) -> Answer[T]:
        """Return the answer in *done*, the result of *words*; raises the errors of `ask`."""
        if done.status not in ok:
            raise self.refusal(done)
        command = shlex.join(("dirtune", *words))
        document = await self.decoded(command, done.stdout, kind)
        return Answer(document, done.status or 0, tuple(map(_own, done.stderr.splitlines())))

    async def _run(
        self, words: Sequence[str], text: str | None, timeout_s: float, most_bytes: int
    ) -> Finished:
        """Run the far dirtune, after it was sent if none of this version is there."""

        async def run() -> Finished:
            return await self.node.completed(
                self.command(words),
                text=text,
                timeout_s=timeout_s,
                most_bytes=most_bytes,
                grace_s=UNDO_S,
            )

        done = await run()
        if self.node.sent is not None:
            return done
        if not self._may_be_sent or not _lacks(done):
            self.node.sent = ""
            return done
        lender = _LENDERS.get(self.node.name)
        if lender is None:
            self.node.sent = await pushing.push(self.node)
            return await run()
        self.node.sent = await lender.folder()
        if _lacks(done := await run()):  # the host was booted meanwhile, which emptied the folder
            await lender.close()
            self.node.sent = await lender.folder()
            done = await run()
        return done

    @property
    def _may_be_sent(self) -> bool:
        chosen = sending.chosen()
        if self.node.name == LOCAL:  # this machine has a dirtune: the one that runs now
            return False
        return self.program == PROGRAM and (chosen.send or chosen.kept)

    async def decoded(self, command: str, text: str, kind: type[T]) -> T:
        """Decode the *text* that *command* printed. Raises `NotPossible` for another document."""
        try:
            return await parsed(text, lambda out: from_json(out, kind))
        except msgspec.DecodeError as error:
            cause, _, _ = str(error).partition(". ")  # what follows is a remedy for files
            raise NotPossible(
                f"{self.node.name}: `{command}` did not print its JSON document ({cause}). "
                f"{_REMEDY}"
            ) from error

    async def version(self) -> str:
        """Return the version that the far dirtune reports."""
        return (await self.node.run((*self._program, "--version"))).strip()

    def refusal(self, done: Finished) -> NotPossible:
        """Return the error for a dirtune that ended as *done* says."""
        host = self.node.name
        if done.status == MISSING:
            return NotInstalled(f"{host}: {self.program} is not installed there. {_REMEDY}")
        rows = [row.strip() for row in (done.stderr or done.stdout).splitlines() if row.strip()]
        last = _own(rows[-1]) if rows else f"dirtune ended with exit status {done.status}"
        # An older dirtune does not know the option. click refuses it with the same exit status as
        # any other error, so only the text, which is click's own, names the option.
        if _REQUIRE in last:
            return NotPossible(f"{host}: the dirtune there has another version. {_REMEDY}")
        return NotPossible(f"{host}: {last[:_LONGEST]}")


@asynccontextmanager
async def opened(
    host: str, *, ssh_config: Path | None = None, become: bool = True, program: str = PROGRAM
) -> AsyncIterator[FarDirtune]:
    """Connect to *host*, and yield the dirtune there; it runs as root if *become* is set."""
    async with await remote.connect(host, ssh_config=ssh_config, become=become) as node:
        yield FarDirtune(node, program)


class _Lender:
    """A connection that sends the one file when it is first needed, and keeps it there."""

    def __init__(self, connect: Callable[[], Awaitable[Node]]) -> None:
        self._connect = connect
        self._node: Node | None = None
        self._lock = asyncio.Lock()

    async def folder(self) -> str:
        """Return the folder on the host that holds the file; raises the errors of `push`."""
        async with self._lock:
            if self._node is None or not self._node.holds:
                await self.close()
                node = await self._connect()
                try:
                    node.sent = await pushing.push(node)
                except BaseException:
                    await node.close()
                    raise
                self._node = node
            return self._node.sent or ""

    async def close(self) -> None:
        """Close the connection, which removes the file."""
        node, self._node = self._node, None
        if node is not None:
            await node.close()


_LENDERS: dict[str, _Lender] = {}
"""What `lending` has for each host."""


@asynccontextmanager
async def lending(host: str, connect: Callable[[], Awaitable[Node]]) -> AsyncIterator[None]:
    """Send dirtune to *host* at most once, over a connection of its own that *connect* opens.

    Otherwise every connection of a long session would send it again. The other connections must
    have the same user there.
    """
    lender = _LENDERS[host] = _Lender(connect)
    try:
        yield
    finally:
        del _LENDERS[host]
        await to_the_end(lender.close())


def _lacks(done: Finished) -> bool:
    """Whether no dirtune of this version ran."""
    return done.status == MISSING or (
        done.status == CANNOT and (_REQUIRE in done.stderr or _OTHER_VERSION in done.stderr)
    )


def _own(row: str) -> str:
    """Return a line of standard error without the prefix `dirtune: `."""
    return row.removeprefix("dirtune: ")
