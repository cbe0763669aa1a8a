"""Run dirtune on another host, and read the JSON document that it prints.

Both hosts must have the same version: the far dirtune refuses a caller of another version before
it does anything (`--require-version`), and the caller refuses every answer except the expected
document. An answer is limited in size and in time. Its text may be printed, but is never executed.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from dirtune import __version__
from dirtune.errors import NotInstalled, NotPossible
from dirtune.formats import from_json
from dirtune.remote import DOCUMENT_BYTES, MISSING, parsed
from dirtune.remote.node import Finished, Node

T = TypeVar("T")

_REQUIRE = "--require-version"
_REMEDY = f"Install dirtune {__version__} there"
_UNDO_S = 30
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

    def argv(self, words: Sequence[str]) -> tuple[str, ...]:
        """Return the command line that runs dirtune with *words* and prints JSON."""
        return (*self.program.split(), _REQUIRE, __version__, *words, "--format", "json")

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
        done = await self.node.completed(
            # Without a shell in between, which would end before dirtune has undone its changes.
            f"exec {shlex.join(self.argv(words))}",
            text=text,
            timeout_s=timeout_s,
            most_bytes=DOCUMENT_BYTES,
            grace_s=_UNDO_S,
        )
        if done.status not in ok:
            raise self._refusal(done)
        command = shlex.join(("dirtune", *words))
        document = await self.decoded(command, done.stdout, kind)
        return Answer(document, done.status or 0, tuple(map(_own, done.stderr.splitlines())))

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
        return (await self.node.run((*self.program.split(), "--version"))).strip()

    def _refusal(self, done: Finished) -> NotPossible:
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


def _own(row: str) -> str:
    """Return a line of standard error without the prefix `dirtune: `."""
    return row.removeprefix("dirtune: ")
