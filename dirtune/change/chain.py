"""Lines of which each carries a checksum of itself and of all before it.

So a bit that flipped shows, and a line that is missing, doubled or out of its place. Lines that
are missing at the end do not show: a power cut leaves the same.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator

_SEALED = re.compile(rb'(?P<body>\{.*),"sum":"(?P<sum>[0-9a-f]{16})"\}', re.DOTALL)


class DamagedError(Exception):
    """A line is not as it was written, or not where."""


def sealed(body: bytes, before: bytes | None) -> bytes:
    """Return the JSON object *body* with its checksum, to follow the line *before*."""
    start = b"" if before is None else _parts(before)[1]
    return b'%s,"sum":"%s"}' % (body[:-1], _sum(body, start))


def unsealed(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what was sealed into *lines*; `DamagedError` at the first that is not as written."""
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
