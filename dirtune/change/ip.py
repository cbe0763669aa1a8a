"""Addresses, links and the default route, shown and changed by ip(8). IPv4 routes only.

Everything that has them has iproute2, and a route is kept as the row that it prints: it accepts
what it printed, whatever the row says of protocols, sources and metrics.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from dirtune.change.lines import lines_of
from dirtune.errors import ApplyError, NotPossible
from dirtune.host import Host, LiveHost, WritableHost, run

_BLANKS = re.compile(r"[ \t]+")
_STATES = frozenset(
    {"linkdown", "dead", "unresolved"}
    | {"offload", "trap", "rt_offload", "rt_trap", "rt_offload_failed"}
)
"""Words in a row that tell how a route is, and that ip(8) does not accept."""


def default_routes(host: Host) -> tuple[str, ...]:
    """Return the default routes of the main table, as they are used.

    As `ip route` prints them behind `default`; whole where a row begins otherwise, which is of a
    type such as unreachable, or one of several next hops of the row above.
    """
    text = shown(host, "-4", "route", "show", "table", "main", "exact", "default")
    rows = (" ".join(_without_states(row)) for row in lines_of(text))
    return tuple(row.removeprefix("default ") for row in rows)


def _without_states(row: str) -> Iterator[str]:
    # The name of an interface may be such a word, and hold what else Python parts words at.
    words = _BLANKS.split(row.strip(" \t"))
    for before, word in zip(("", *words), words, strict=False):
        if word not in _STATES or before == "dev":
            yield word


def shown(host: Host, *words: str) -> str:
    """Return what ip(8) prints for *words*, which change nothing."""
    if isinstance(host, WritableHost):
        return change(host, *words)
    if not (isinstance(host, LiveHost) and host.here):
        raise NotPossible("ip: no command can be run on a recorded host")
    with _refused():
        return run(("ip", *words))


def change(host: WritableHost, *words: str) -> str:
    """Run ip(8); `ApplyError` is its refusal."""
    with _refused():
        return host.run(("ip", *words))


def require_not_yet(what: str, *, made: bool) -> None:
    """Raise `ApplyError` if *what* is to be made, and is *made* already."""
    if made:
        raise ApplyError(f"{what}: is set already, which the plan did not see")


def require_made(what: str, *, made: bool) -> None:
    """Raise `ApplyError` unless *what* is *made*."""
    if not made:
        raise ApplyError(f"{what}: did not take effect, or somebody else undid it")


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except NotPossible as error:
        raise ApplyError(str(error)) from error
