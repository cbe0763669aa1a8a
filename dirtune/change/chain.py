"""Lines with checksums; a line's checksum covers the line and all lines before it.

The checksums reveal a flipped bit, and a line that is missing, repeated or out of place. Missing
lines at the end remain unnoticed, because they look like the result of a power cut.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator

_SEALED = re.compile(rb'(?P<body>\{.*),"sum":"(?P<sum>[0-9a-f]{16})"\}', re.DOTALL)


class DamagedError(Exception):
    """A line differs from what was written, or is out of place."""


def sealed(body: bytes, before: bytes | None) -> bytes:
    """Return the line for the JSON object *body*, with a checksum.

    *before* is the line before it; None for the first line.
    """
    start = b"" if before is None else _parts(before)[1]
    return b'%s,"sum":"%s"}' % (body[:-1], _sum(body, start))


def unsealed(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the JSON objects in *lines*; raises `DamagedError` at the first damaged line."""
    before = b""
    for line in lines:
        body, before_next = _parts(line)
        if before_next != _sum(body, before):
            raise DamagedError("checksum is wrong")
        yield body
        before = before_next


def _parts(line: bytes) -> tuple[bytes, bytes]:
    match = _SEALED.fullmatch(line)
    if match is None:
        raise DamagedError("checksum is missing")
    return match["body"] + b"}", match["sum"]


def _sum(body: bytes, before: bytes) -> bytes:
    return hashlib.sha256(before + body).hexdigest()[:16].encode()
