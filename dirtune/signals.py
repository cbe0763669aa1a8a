"""Ctrl-C, SIGTERM and SIGHUP: one exception, raised once, that no clean-up is cut short by.

Whoever changed something undoes it on the way out, in `finally` or `with`. The first signal
raises `Ended`; those that follow only print that the clean-up goes on.
"""

import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE = b"dirtune: still cleaning up; Ctrl-\\ gives that up\n"


class Ended(KeyboardInterrupt):
    """A signal asked this process to end."""

    def __init__(self, number: int, consequence: str = "") -> None:
        super().__init__(number, consequence)
        self.number = number
        self.consequence = consequence
        """How the host is left, and how to go on."""

    def __str__(self) -> str:
        """Return it in words."""
        interrupted = self.number == signal.SIGINT
        words = "interrupted" if interrupted else f"ended by {signal.Signals(self.number).name}"
        return f"{words}: {self.consequence}" if self.consequence else words


class _Handled:
    """What the handlers of this process share: how deep they are nested, and what came."""

    depth = 0
    over = False
    """Whether the process ends just now."""
    came: list[int]
    held: list[int] | None = None
    """What came in a section that is not to be disturbed, nor anything within it."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise `Ended` at once for the first signal."""

    def first(number: int) -> None:
        raise Ended(number)

    with _handled(first):
        yield


@contextmanager
def undisturbed() -> Iterator[None]:
    """Hold signals back while something is undone; `Ended` is raised afterwards.

    Not where an exception is on its way already: the process ends by that one.
    """
    if _Handled.held is not None:
        yield  # a part of one that is held already
        return
    ending = sys.exception() is not None
    held: list[int] = []
    _Handled.held = held
    try:
        with _handled(_nothing):
            yield
    finally:
        _Handled.held = None
    if held and not ending:
        raise Ended(held[0])


def ignore() -> None:
    """Ignore signals from now on, whatever handled them: the process is on its last lines."""
    _Handled.over = True
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run *work* in an event loop of its own; nothing else in dirtune starts one.

    The first signal cancels it, and `Ended` is raised once it has cleaned up.
    """
    import asyncio  # noqa: PLC0415  (40 ms, which commands without a loop need not pay)

    ended: list[Ended] = []

    async def supervised() -> T:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None

        def first(number: int) -> None:
            ended.append(Ended(number))
            # Called between two of any instructions, where the task must not be touched.
            loop.call_soon_threadsafe(task.cancel)

        with _handled(first):
            try:
                return await work
            except Ended as error:  # asyncio would report one that a task raised
                ended.append(error)
                raise asyncio.CancelledError from error

    try:
        done = asyncio.run(supervised())
    except asyncio.CancelledError as error:
        if ended:
            raise ended[0] from error
        raise
    if ended:
        raise ended[0]
    return done


def send(pid: int, number: int) -> None:
    """Signal a process that asyncio waits for, if it is still there.

    asyncio's own way looks first whether the process has ended, and so takes the exit status from
    the thread that waits for it: 255 is reported, with a warning on standard error.
    """
    with suppress(ProcessLookupError):
        os.kill(pid, number)


async def to_the_end(work: Awaitable[T]) -> T:
    """Await *work* to its end, even if the caller is cancelled meanwhile, which follows then."""
    import asyncio  # noqa: PLC0415  (as above)

    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


@contextmanager
def _handled(first: Callable[[int], None]) -> Iterator[None]:
    """Have *first* handle the first signal; one that is ignored, as under nohup(1), stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    if not _Handled.depth:
        _Handled.came = []

    def handler(number: int, frame: FrameType | None) -> None:
        del frame
        _Handled.came.append(number)
        if len(_Handled.came) > 1:
            _ask_for_patience(number)
        elif _Handled.held is not None:
            _Handled.held.append(number)
        else:
            first(number)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    heard = [number for number, was in before.items() if was not in {signal.SIG_IGN, None}]
    try:
        _Handled.depth += 1
        for number in heard:
            signal.signal(number, handler)
        yield
    finally:
        for number in () if _Handled.over else heard:
            signal.signal(number, before[number])
        _Handled.depth -= 1


def _nothing(number: int) -> None:
    """Leave it to the section that holds signals back."""


def _ask_for_patience(number: int) -> None:
    if number == signal.SIGINT:
        # Past the stream: the handler may have interrupted a write to it.
        with suppress(OSError):
            os.write(2, _PATIENCE)
