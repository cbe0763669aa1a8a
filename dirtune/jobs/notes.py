"""Progress and warnings of a job, passed to the functions that `hear` registers.

Python's logging could do the same, but its import delays the start of every command.
"""

from collections.abc import Callable


class _Heard:
    progress: Callable[..., None] | None = None
    warning: Callable[[str], None] | None = None


def hear(progress: Callable[..., None], warning: Callable[[str], None]) -> None:
    """Call *progress* and *warning* for everything that jobs report from now on."""
    _Heard.progress, _Heard.warning = progress, warning


def progress(*lines: str) -> None:
    """Report how far a job is, in one or more lines."""
    if _Heard.progress:
        _Heard.progress(*lines)


def warning(text: str) -> None:
    """Report a warning to the user, in one line."""
    if _Heard.warning:
        _Heard.warning(text)
