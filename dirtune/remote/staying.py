"""Start a dirtune that stays on another host, and let it run one command after another.

To start Python and import dirtune takes an emulated director ten seconds of its time, and a
comparison switches between its arms in every pair. The far dirtune (`dirtune stay`) starts once,
and forks for each command. It ends with its input, and thus with the connection.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import TypeVar

from dirtune.change.documents import HelloDocument, ResultDocument
from dirtune.errors import NodeUnreachable
from dirtune.remote import DOCUMENT_BYTES
from dirtune.remote.far_dirtune import UNDO_S, Answer, FarDirtune
from dirtune.remote.node import Finished, Process

T = TypeVar("T")

_START_S = 180
_LINE_BYTES = 2 * DOCUMENT_BYTES + 2**20
"""Limit of a result. It holds a document as a JSON string, in which a quote takes two bytes."""


class Staying:
    """A dirtune that stays on another host. `start` returns it."""

    def __init__(self, far: FarDirtune, process: Process, version: str) -> None:
        self.version = version
        self._far = far
        self._process = process
        self._in_step = True
        """Whether the next line of output answers the next command."""

    @property
    def alive(self) -> bool:
        """Whether it can take another command, as far as this machine knows."""
        return self._in_step and self._process.running and self._far.node.alive

    async def ask(
        self, words: Sequence[str], kind: type[T], *, timeout_s: float, ok: tuple[int, ...] = (0,)
    ) -> Answer[T]:
        """Run the command *words*, and return the document of *kind* that it prints.

        Raises the same errors as `FarDirtune.ask`. If the answer does not arrive within
        *timeout_s*, this dirtune takes no further command.
        """
        self._in_step = False
        await self._process.send(f"{json.dumps(self._far.arguments(words))}\n")
        line = await self._process.line(timeout_s=timeout_s, most_bytes=_LINE_BYTES)
        self._in_step = True
        done = await self._far.decoded("dirtune stay", line, ResultDocument)
        finished = Finished(done.status, done.stdout, done.stderr)
        return await self._far.answer(words, finished, kind, ok=ok)

    async def end(self) -> None:
        """End the far dirtune; a command that still runs may undo its changes first."""
        await self._process.end(within_s=UNDO_S)


async def start(far: FarDirtune) -> Staying:
    """Start a dirtune that stays on the host of *far*.

    Raises `NotPossible` if it has another version, and `NotInstalled` if it is missing there.
    """
    await far.ready()
    script = far.command(("stay",))
    # No guard is needed, because it ends with its input.
    process = await far.node.start(script, guarded=False)
    try:
        hello = await far.decoded("dirtune stay", await _first_line(far, process), HelloDocument)
    except BaseException:
        await process.end(within_s=UNDO_S)
        raise
    return Staying(far, process, hello.version)


async def _first_line(far: FarDirtune, process: Process) -> str:
    try:
        return await process.line(timeout_s=_START_S)
    except NodeUnreachable:
        await process.ended_soon()
        if process.running:
            raise
        with suppress(NodeUnreachable):
            done = await process.finish(timeout_s=_START_S)
            raise far.refusal(done) from None
        raise
