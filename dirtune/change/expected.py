"""Compare values on a host with the expected values."""

from dirtune.errors import ApplyError, SourceMissing
from dirtune.host import Host

_LONGEST = 60
"""Number of characters of a value that a message shows."""


def require(name: str, actual: str | None, expected: str | None) -> None:
    """Raise `ApplyError` unless *name* has the value *expected*; None means missing."""
    if actual != expected:
        now, then = _shown(actual, "missing"), _shown(expected, "none")
        raise ApplyError(f"{name} is {now}, expected {then}")


def text(host: Host, path: str) -> str | None:
    """Return the text of *path*; None if the file does not exist."""
    try:
        return host.read(path)
    except SourceMissing:
        return None


def _shown(value: str | None, nothing: str) -> str:
    if value is None:
        return nothing
    return repr(value if len(value) <= _LONGEST else f"{value[: _LONGEST - 3]}...")
