"""Read and change addresses, links and default routes (IPv4 only) with ip(8).

A route is stored as the row that ip(8) prints, because ip(8) accepts its own output, including
protocol, source address and metric. Every host with routes has iproute2.
"""

import re
import shlex
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dirtune.change.action import Action
from dirtune.change.boot_files import Row, Unwritable
from dirtune.change.lines import lines_of
from dirtune.competitors import competitors
from dirtune.errors import ApplyError, NotPossible
from dirtune.host import Host, LiveHost, WritableHost, run

if TYPE_CHECKING:
    from dirtune.snapshot import Snapshot

_BLANKS = re.compile(r"[ \t]+")
_STATES = frozenset(
    {"linkdown", "dead", "unresolved"}
    | {"offload", "trap", "rt_offload", "rt_trap", "rt_offload_failed"}
)
"""Words that ip(8) prints for a route's state, but does not accept as input."""


class IpAction(Action, frozen=True):
    """The base class of the actions that one command of ip(8) makes."""

    @property
    @abstractmethod
    def what(self) -> str:
        """The thing that the action sets, as messages name it."""

    @property
    @abstractmethod
    def words(self) -> tuple[str, ...]:
        """The arguments of ip(8)."""

    @property
    def commands(self) -> tuple[str, ...]:
        return (shlex.join(("ip", *self.words)),)

    @property
    def kept(self) -> tuple[Row, ...] | Unwritable:
        return ()  # after a boot, networkd, ifupdown or the like sets the network up, not dirtune

    @property
    def targets(self) -> frozenset[str]:
        return frozenset({self.what})

    def touched(self, snapshot: "Snapshot") -> tuple[str, ...]:
        return ()

    def suspects(self, snapshot: "Snapshot") -> tuple[str, ...]:
        return competitors(snapshot, "nic")

    @property
    def in_network(self) -> bool:
        return True

    def make(self, host: WritableHost) -> None:
        host.run(("ip", *self.words))


def default_routes(host: Host) -> tuple[str, ...]:
    """Return the default routes of the main table, in the order in which the kernel uses them.

    The leading word `default` is removed from the rows. Rows that begin with another word are
    unchanged: routes with a type such as unreachable, and further next hops of the row above.
    """
    text = shown(host, "-4", "route", "show", "table", "main", "exact", "default")
    rows = (" ".join(_without_states(row)) for row in lines_of(text))
    return tuple(row.removeprefix("default ") for row in rows)


def _without_states(row: str) -> Iterator[str]:
    # An interface may have such a word as its name, or a name with white space.
    words = _BLANKS.split(row.strip(" \t"))
    for before, word in zip(("", *words), words, strict=False):
        if word not in _STATES or before == "dev":
            yield word


def shown(host: Host, *words: str) -> str:
    """Return the output of ip(8) with the arguments *words*, which must only read."""
    if isinstance(host, WritableHost):
        return change(host, *words)
    if not (isinstance(host, LiveHost) and host.here):
        raise NotPossible("This needs ip(8), which cannot be run on a recorded host")
    with _refused():
        return run(("ip", *words))


def change(host: WritableHost, *words: str) -> str:
    """Run ip(8) with the arguments *words*; raises `ApplyError` if it fails."""
    with _refused():
        return host.run(("ip", *words))


def require_not_yet(what: str, *, made: bool) -> None:
    """Raise `ApplyError` if the setting *what* is already *made*, before dirtune makes it."""
    if made:
        raise ApplyError(f"{what}: this was set after the plan was made. Make a new plan.")


def require_made(what: str, *, made: bool) -> None:
    """Raise `ApplyError` unless the setting *what* is *made*."""
    if not made:
        raise ApplyError(f"{what}: this did not take effect, or another program undid it")


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except NotPossible as error:
        raise ApplyError(str(error)) from error
