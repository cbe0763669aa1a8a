"""Ctrl-C, SIGTERM and SIGHUP: one exception, raised once, that no clean-up is cut short by.

Whoever changed something undoes it on the way out, in `finally` or `with`. The first signal
raises `Ended`; those that follow only print that the clean-up goes on.
"""

import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext, suppress
from types import FrameType
from typing import Any, Self, TypeVar

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE = b"dirtune: still cleaning up; Ctrl-\\ gives that up\n"


class Ended(KeyboardInterrupt):
    """A signal asked this process to end."""

    def __init__(self, number: int, consequence: str = "") -> None:
        super().__init__(number, consequence)
        self.number = number
        self.consequence = consequence
        """The state in which the host is left, and how to go on."""

    def __str__(self) -> str:
        """Return the signal in words."""
        interrupted = self.number == signal.SIGINT
        words = "interrupted" if interrupted else f"ended by {signal.Signals(self.number).name}"
        return f"{words}: {self.consequence}" if self.consequence else words


class _Handled:
    """The state that the handlers share: how deep they are nested, and which signals came."""

    depth = 0
    over = False
    """Whether the process ends just now."""
    came: list[int]
    held: list[int] | None = None
    """Signals that came in a section of `undisturbed`; None outside of one."""


def interruptible() -> "_Handlers":
    """Return a block in which the first signal raises `Ended` at once."""
    return _Handlers(_end)


def undisturbed() -> "_Section":
    """Return a block that holds signals back while something is undone, and then raises `Ended`.

    It does not raise `Ended` where an exception is on its way already: that one ends the process.

    Whoever makes something and undoes it on failure stands in one such block, and makes it in a
    window of that block. Then no signal can come between the failure and the undo: the window
    either raises `Ended` into the `try`, or is closed. With the block in the `except` clause
    alone, the first signal could come before the block is entered, and skip the undo::

        with undisturbed() as section:
            try:
                with section.interruptible():
                    make()
            except BaseException:
                undo()
                raise
    """
    return _Section()


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

        with _Handlers(first):
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


class _Handlers:
    """A block in which *first* handles the first signal, and the following ones change nothing.

    A signal that is ignored, as under nohup(1), stays ignored. No generator: a signal may come
    between any two instructions of `__exit__`, and would leave a generator to end at any time.
    """

    def __init__(self, first: Callable[[int], None]) -> None:
        self._first = first
        self._before: dict[signal.Signals, Any] = {}
        self._depth: int | None = None

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # signals are the main thread's
        self._depth = _Handled.depth
        if not self._depth:
            _Handled.came = []
        before = {number: signal.getsignal(number) for number in SIGNALS}
        self._before = {n: was for n, was in before.items() if was not in {signal.SIG_IGN, None}}
        try:
            _Handled.depth = self._depth + 1
            for number in self._before:
                signal.signal(number, self._handle)
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        if self._depth is None:
            return
        for number, handler in self._before.items():
            if not _Handled.over:
                signal.signal(number, handler)
        _Handled.depth = self._depth

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        _Handled.came.append(number)
        if len(_Handled.came) > 1:
            _ask_for_patience(number)
        elif _Handled.held is not None:
            _Handled.held.append(number)
        else:
            self._first(number)


class _Section:
    """The block of `undisturbed`."""

    def __init__(self) -> None:
        self._handlers = _Handlers(_nothing)
        self._outermost = False
        self._ending = False
        self.held: list[int] = []

    def __enter__(self) -> Self:
        if _Handled.held is None:  # else it is a part of one that is held already
            self._ending = sys.exception() is not None
            self._outermost = True
            _Handled.held = self.held
            self._handlers.__enter__()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not self._outermost:
            return
        self._handlers.__exit__()
        _Handled.held = None
        if self.held and error is None and not self._ending:
            raise Ended(self.held[0])

    def interruptible(self) -> AbstractContextManager[None]:
        """Return a block in which the first signal raises `Ended` at once, not at the end.

        Where this section is a part of another one, that one is not disturbed either.
        """
        return _Window(self.held) if self._outermost else nullcontext()


class _Window:
    """A block in a section whose signals go to `held` before and after it."""

    def __init__(self, held: list[int]) -> None:
        self._held = held
        self._handlers = _Handlers(_end)

    def __enter__(self) -> None:
        self._handlers.__enter__()
        _Handled.held = None
        if self._held:
            raise Ended(self._held[0])

    def __exit__(self, *_: object) -> None:
        # A signal before this line raises `Ended` into the `try` around the block, none after it.
        _Handled.held = self._held
        self._handlers.__exit__()


def _end(number: int) -> None:
    raise Ended(number)


def _nothing(number: int) -> None:
    """Leave it to the section that holds signals back."""


def _ask_for_patience(number: int) -> None:
    if number == signal.SIGINT:
        # Past the stream: the handler may have interrupted a write to it.
        with suppress(OSError):
            os.write(2, _PATIENCE)
