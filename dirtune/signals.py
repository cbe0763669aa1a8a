"""Turn Ctrl-C, SIGTERM and SIGHUP into one exception that does not cut any clean-up short.

Code that changes something undoes the change in `finally` or `with`. The first signal raises
`Ended`; later signals change nothing, but Ctrl-C prints that the clean-up is still running.
"""

import os
import select
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from types import FrameType
from typing import Any, Self, TypeVar

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ALIKE = (
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF),
    *(signal.SIGXCPU, signal.SIGIO, signal.SIGPWR),
)
"""Signals that end a process unless it handles them, such as the alarm(2) of its starter."""
_PATIENCE = b"dirtune: still cleaning up; Ctrl-\\ aborts the clean-up\n"


class Ended(KeyboardInterrupt):
    """A signal asked this process to end."""

    def __init__(self, number: int, consequence: str = "") -> None:
        super().__init__(number, consequence)
        self.number = number
        self.consequence = consequence
        """The state in which the host is left, and how to continue."""

    def __str__(self) -> str:
        """Return the signal in words."""
        interrupted = self.number == signal.SIGINT
        words = "interrupted" if interrupted else f"ended by {signal.Signals(self.number).name}"
        return f"{words}: {self.consequence}" if self.consequence else words


class _Handled:
    """The state that all handlers share: their nesting depth, and the signals that arrived."""

    depth = 0
    over = False
    """Whether the process is about to exit."""
    came: list[int]
    held: list[int] | None = None
    """Signals that arrived in a section of `undisturbed`; None outside every section."""


def prepare() -> None:
    """Set the signal handlers that each of dirtune's processes needs from its start.

    A process inherits an ignored SIGCHLD. The kernel then forgets how the commands of the process
    ended, and a command that failed would count as one that succeeded. SIGCHLD therefore gets its
    default action. Other signals that would end the process are passed to the handler that SIGTERM
    has when they arrive.
    """
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number in _ALIKE:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _as_sigterm)


def forget() -> None:
    """Forget all handlers and blocks of the process that forked this one.

    As after execve(2), a signal that was ignored stays ignored.
    """
    _Handled.depth, _Handled.over, _Handled.came, _Handled.held = 0, False, [], None
    for number in (*SIGNALS, *_ALIKE, signal.SIGTSTP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def unstoppable() -> Iterator[None]:
    """Defer Ctrl-Z to the end of the block, because a stopped process keeps its locks.

    Outside of the main thread, which gets the signals, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = signal.getsignal(signal.SIGTSTP)
    if before is signal.SIG_DFL:
        signal.signal(signal.SIGTSTP, lambda number, _: came.append(number))
    try:
        yield
    finally:
        if before is signal.SIG_DFL:
            signal.signal(signal.SIGTSTP, before)
        if came:
            signal.raise_signal(signal.SIGTSTP)


def interruptible() -> "_Handlers":
    """Return a block in which the first signal raises `Ended` immediately."""
    return _Handlers(_end)


def undisturbed() -> "_Section":
    """Return a block that defers signals, and raises `Ended` at its end if a signal arrived.

    `Ended` is not raised if another exception is already on its way and will end the process.

    Code that makes something and undoes it on failure must do both inside one block, and make the
    thing inside `interruptible`. A signal then either raises `Ended` inside the `try`, or waits
    until the undo is complete. If the block were only in the `except` clause, the first signal
    could arrive before the block begins, and skip the undo::

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
    """Ignore all signals from now on, because the process is about to exit."""
    _Handled.over = True
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run *work* in an event loop of its own; no other code in dirtune starts an event loop.

    The first signal cancels *work*, and `Ended` is raised once *work* has cleaned up.
    """
    import asyncio  # noqa: PLC0415  (40 ms, which commands without a loop need not pay)

    ended: list[Ended] = []

    async def supervised() -> T:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None

        def first(number: int) -> None:
            ended.append(Ended(number))
            # This runs between any two instructions, when the task must not be touched.
            loop.call_soon_threadsafe(task.cancel)

        with _Handlers(first):
            try:
                return await work
            except Ended as error:  # asyncio would report an `Ended` that a task raised
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
    """Send a signal to a process that asyncio waits for, if the process still exists.

    asyncio's own method checks first whether the process has ended, and that takes the exit status
    away from the thread that waits for the process: asyncio then reports 255, with a warning on
    standard error.
    """
    with suppress(ProcessLookupError):
        os.kill(pid, number)


async def to_the_end(work: Awaitable[T]) -> T:
    """Await *work* to its end, even if the caller is cancelled; then pass the cancellation on."""
    import asyncio  # noqa: PLC0415  (as above)

    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


class _Handlers:
    """A block in which *first* handles the first signal, and later signals change nothing.

    A signal that is ignored, as under nohup(1), stays ignored. This is a class, because the rest
    of a generator would run at an unpredictable time if a signal arrived during `__exit__`.
    """

    def __init__(self, first: Callable[[int], None]) -> None:
        self._first = first
        self._before: dict[signal.Signals, Any] = {}
        self._depth: int | None = None

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread handles signals
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
    """The block that `undisturbed` returns."""

    def __init__(self) -> None:
        self._handlers = _Handlers(_nothing)
        self._outermost = False
        self._ending = False
        self.held: list[int] = []

    def __enter__(self) -> Self:
        if _Handled.held is None:  # otherwise an outer section defers signals already
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
        """Return a block in which the first signal raises `Ended` immediately.

        Inside an outer section the block still defers signals, so that the outer section is not
        disturbed.
        """
        return _Window(self.held) if self._outermost else nullcontext()


class _Window:
    """The interruptible part of a section; signals before and after it are added to `held`."""

    def __init__(self, held: list[int]) -> None:
        self._held = held
        self._handlers = _Handlers(_end)

    def __enter__(self) -> None:
        self._handlers.__enter__()
        _Handled.held = None
        if self._held:
            raise Ended(self._held[0])

    def __exit__(self, *_: object) -> None:
        # Up to this line a signal raises `Ended` inside the caller's `try`; after it, none does.
        _Handled.held = self._held
        self._handlers.__exit__()


def _as_sigterm(number: int, frame: FrameType | None) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    if callable(handler):
        handler(number, frame)
    elif handler is signal.SIG_DFL:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)


def _end(number: int) -> None:
    raise Ended(number)


def _nothing(number: int) -> None:
    """Do nothing, because the section has already stored the signal."""


def _ask_for_patience(number: int) -> None:
    if number == signal.SIGINT:
        # Not through the stream, because the handler may have interrupted a write to it.
        with suppress(OSError):
            # To wait for a reader that hangs would hold up the clean-up.
            if select.select((), (2,), (), 0)[1]:
                os.write(2, _PATIENCE)
