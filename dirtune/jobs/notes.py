"""Progress and warnings of a job. Whoever runs jobs says once who receives them, else nobody does.

Python's logging would do, but its import delays the start of every command.
"""

from collections.abc import Callable


class _Heard:
    progress: Callable[..., None] | None = None
    warning: Callable[[str], None] | None = None


def hear(progress: Callable[..., None], warning: Callable[[str], None]) -> None:
    """Have *progress* and *warning* called with all that jobs tell from now on."""
    _Heard.progress, _Heard.warning = progress, warning


def progress(*lines: str) -> None:
    """Tell how far a job is, in one line or more."""
    if _Heard.progress:
        _Heard.progress(*lines)


def warning(text: str) -> None:
    """Tell in one line what a person should know."""
    if _Heard.warning:
        _Heard.warning(text)
