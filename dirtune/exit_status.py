"""Guard the streams of a dirtune process, print its error line and set its exit status.

Writing progress to standard error never raises. If standard output does not accept a result,
`OutputLost` is raised once, and later output is dropped, so that nothing disturbs the clean-up.
`outermost` catches unexpected exceptions.
"""

import errno
import io
import os
import select
import stat
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO

from dirtune.errors import DirtuneError, Exhausted, require_files
from dirtune.escape import one_line, visible
from dirtune.extras import lacking
from dirtune.signals import ignore, interruptible, prepare

_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
CANNOT = 2
"""Exit status of a command that failed."""
_PACKAGE = Path(__file__).parent
_LONGEST = 300
"""How many characters of an unexpected exception's text are printed."""
_REPORT = (
    "This is a bug in dirtune. Run the command again with DIRTUNE_DEBUG=1 and report its output "
    "(README.md says where)"
)


class OutputLost(DirtuneError):
    """Standard output did not accept the complete result."""

    def __init__(self, error: OSError) -> None:
        super().__init__(
            f"Cannot write to standard output: {error.strerror}. The result is incomplete."
        )
        self.quiet = error.errno == errno.EPIPE
        """Whether the reader closed the pipe, as head(1) does; no message is printed then."""


def outermost(work: Callable[[], int | None]) -> NoReturn:
    """Do *work*, then exit with the status that it returns, or with 2 after one error line."""
    own_process, status = guard_streams(), CANNOT
    if own_process:
        sys.unraisablehook = _unraisable
        _close_new_files()
        prepare()
    # A signal that arrives while the last line is printed no longer matters.
    with suppress(KeyboardInterrupt), interruptible():
        try:
            status = _status(work)
        finally:
            if own_process:
                ignore()
    sys.exit(status)


def _close_new_files() -> None:
    """If this process is root, set a umask with which only root may write to new files."""
    if os.geteuid() == 0:
        os.umask(os.umask(_BY_OTHERS) | _BY_OTHERS)


def _status(work: Callable[[], int | None]) -> int:
    try:
        status = work() or 0
        sys.stdout.flush()
    except OutputLost as error:
        if not error.quiet:
            complain(str(error))
    except DirtuneError as error:
        complain(str(error))
    except ModuleNotFoundError as error:
        complain(lacking(error.name) or fault(error))
    except KeyboardInterrupt as error:
        complain(str(error) or "interrupted")
    except Exception as error:  # noqa: BLE001  (the one place)
        _unexpected(error)
    else:
        return status
    return CANNOT


def complain(text: str) -> None:
    """Print one error line on standard error."""
    sys.stderr.write(f"dirtune: {one_line(text)}\n")
    sys.stderr.flush()


def fault(error: Exception) -> str:
    """Return one line about an unexpected exception: its text, its origin and how to report it."""
    try:
        require_files(error)
    except Exhausted as reason:
        return str(reason)
    text = f"{type(error).__name__}: {error}".removesuffix(": ")
    short = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return f"internal error: {short}{_where(error)}. {_REPORT}"


def _unexpected(error: Exception) -> None:
    if os.environ.get("DIRTUNE_DEBUG") == "1":
        sys.stderr.write(visible("".join(traceback.format_exception(error))))
    complain(fault(error))


def _unraisable(found: "sys.UnraisableHookArgs", /) -> None:
    """Print an exception in a finaliser if DIRTUNE_DEBUG is 1; otherwise suppress it."""
    if os.environ.get("DIRTUNE_DEBUG") == "1":
        sys.__unraisablehook__(found)


def _where(error: Exception) -> str:
    """Return the innermost file and line of dirtune in the traceback."""
    ours = [
        (Path(frame.f_code.co_filename), line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if Path(frame.f_code.co_filename).is_relative_to(_PACKAGE)
    ]
    if not ours:
        return ""
    path, line = ours[-1]
    return f" (in {path.relative_to(_PACKAGE.parent)}, line {line})"


class _Stream(io.FileIO):
    """A standard stream that tolerates a closed pipe and a full disk."""

    def __init__(self, descriptor: int, *, raises: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._raises = raises
        self._lost = False

    def write(self, data: Any, /) -> int:  # noqa: ANN401  (any buffer)
        """Write *data*; drop it if an earlier write has failed."""
        size = memoryview(data).nbytes
        if self._lost:
            return size
        try:
            # None means that another process made the stream non-blocking.
            while (written := super().write(data)) is None:
                select.select((), (self,), ())
        except OSError as error:
            self._lost = True
            if self._raises:
                raise OutputLost(error) from error
            return size
        return written


def guard_streams() -> bool:
    """Replace the interpreter's standard streams with streams that tolerate a closed pipe.

    A closed descriptor is opened on /dev/null, so that no file opened later becomes standard
    output. A stream that other code has replaced before is kept. Return whether standard output
    was the interpreter's own.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # the kernel gives it the lowest free number
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    own = sys.stdout in {None, sys.__stdout__}
    if own:
        sys.stdout = _text(sys.stdout, 1)
    if sys.stderr in {None, sys.__stderr__}:
        sys.stderr = _text(sys.stderr, 2)
    return own


class _Diagnostics(io.TextIOWrapper):
    """Standard error that makes terminal escapes visible; libraries log untrusted text there."""

    def write(self, text: str, /) -> int:
        """Write *text*, and escape everything that a terminal would obey."""
        super().write(visible(text))
        return len(text)


def terminal() -> TextIO:
    """Return a stream to standard error that passes terminal escapes and never raises."""
    raw = _Stream(2, raises=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=sys.stderr.encoding)


def _text(stream: TextIO | None, descriptor: int) -> TextIO:
    result = descriptor == 1
    raw = _Stream(descriptor, raises=result)
    kind = io.TextIOWrapper if result else _Diagnostics
    return kind(
        io.BufferedWriter(raw),
        encoding="utf-8" if stream is None else stream.encoding,
        errors="backslashreplace",  # a name that is not UTF-8 must not stop a report
        line_buffering=not result or raw.isatty(),
    )
