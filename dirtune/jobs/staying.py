"""Stay on this host, and run the commands that a dirtune on another host sends.

Each command runs in a process that is forked for it, with the modules that this process has
imported. So a command that fails, or leaves something behind in memory, does not affect the next
one. If the input ends during a command, as it does when the connection is lost, the command is
ended with SIGTERM, as if it had been started over SSH by itself.
"""

import os
import select
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

import msgspec

from dirtune import __version__
from dirtune.change import watchdog
from dirtune.change.documents import HelloDocument, ResultDocument
from dirtune.exit_status import CANNOT
from dirtune.formats import from_json

Run = Callable[[list[str]], NoReturn]
"""A function that runs the command line of these words, and exits."""

_CHUNK = 1 << 16
_MOST_BYTES = 8 << 20
"""Limit of a command's output, as large as an answer that the other host accepts."""


class _Commands:
    """The lines of standard input; reading them does not hide the end of the input."""

    def __init__(self) -> None:
        self._text = b""
        self.ended = False

    def read(self) -> None:
        """Read what has arrived; block if nothing has."""
        data = os.read(0, _CHUNK)
        self._text += data
        self.ended = not data

    def next(self) -> list[str] | None:
        """Return the words of the next command; None at the end of the input."""
        while b"\n" not in self._text:
            if self.ended:
                return None
            self.read()
        line, _, self._text = self._text.partition(b"\n")
        return from_json(line, list[str])


def serve(run: Run, say: Callable[[str], None]) -> None:
    """Run the commands on standard input until it ends; *say* prints one line at once."""
    watchdog.start_by_fork()
    say(_text(HelloDocument(version=__version__)))
    commands = _Commands()
    while (words := commands.next()) is not None:
        say(_text(_done(words, run, commands)))


def _text(document: msgspec.Struct) -> str:
    return msgspec.json.encode(document).decode()


def _done(words: list[str], run: Run, commands: _Commands) -> ResultDocument:
    """Run one command, and return its result."""
    (out, out_end), (err, err_end) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        _become(words, run, out_end, err_end)
    os.close(out_end)
    os.close(err_end)
    texts = {out: bytearray(), err: bytearray()}
    try:
        _read(texts, child, commands)
    except BaseException:
        _end(child)
        raise
    finally:
        _, status = os.waitpid(child, 0)
        os.close(out)
        os.close(err)
    if any(len(text) > _MOST_BYTES for text in texts.values()):
        why = f"dirtune: The command printed more than {_MOST_BYTES >> 20} MiB."
        return ResultDocument(status=CANNOT, stdout="", stderr=why)
    shown, complaints = (text.decode(errors="backslashreplace") for text in texts.values())
    return ResultDocument(
        status=os.waitstatus_to_exitcode(status), stdout=shown, stderr=complaints
    )


def _read(texts: dict[int, bytearray], child: int, commands: _Commands) -> None:
    """Read the output of *child* to its end; end *child* if the input ends first.

    Output that is too long is read too, because the command must not block on a full pipe, but it
    is not kept.
    """
    open_pipes = set(texts)
    while open_pipes:
        watched = open_pipes | (set() if commands.ended else {0})
        for ready in select.select(watched, (), ())[0]:
            if not ready:
                commands.read()
                if commands.ended:
                    _end(child)
                continue
            data = os.read(ready, _CHUNK)
            if len(texts[ready]) <= _MOST_BYTES:
                texts[ready] += data
            if not data:
                open_pipes.remove(ready)


def _end(child: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGTERM)


def _become(words: list[str], run: Run, out: int, err: int) -> NoReturn:
    """Run one command in this process, which was forked for it."""
    status = CANNOT
    try:
        nothing = os.open(os.devnull, os.O_RDONLY)
        for descriptor, place in ((nothing, 0), (out, 1), (err, 2)):
            os.dup2(descriptor, place)
        os.closerange(3, 1 << 20)
        run(words)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else CANNOT
    finally:
        os._exit(status)
