"""Comparing what a host has with what is expected there."""

from dirtune.errors import ApplyError, SourceMissing
from dirtune.host import Host

_LONGEST = 60
"""Characters of a value that a message shows."""


def require(name: str, actual: str | None, expected: str | None) -> None:
    """Raise `ApplyError` unless *actual*, what is at *name*, is *expected*; None is missing."""
    if actual != expected:
        raise ApplyError(f"{name}: is {_shown(actual)}, expected {_shown(expected)}")


def text(host: Host, path: str) -> str | None:
    """Return the text of *path*, None if there is no such file."""
    try:
        return host.read(path)
    except SourceMissing:
        return None


def _shown(value: str | None) -> str:
    if value is None:
        return "not there"
    return repr(value if len(value) <= _LONGEST else f"{value[: _LONGEST - 3]}...")
