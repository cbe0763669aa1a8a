"""Addresses, the default route and links, read and written by ip(8). IPv4 routes only.

Everything that has them has iproute2, and a route is kept as the row that it prints: what it
printed it takes back, whatever the row says of protocols, sources and metrics.
"""

import ipaddress
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import assert_never

from dirtune.change.plan import AddAddress, SetDefaultRoute, SwitchOn, lines_of
from dirtune.collect.addresses import parse_ip_addr
from dirtune.errors import ApplyError, NotPossible
from dirtune.host import Host, LiveHost, WritableHost, literal, run

_Action = AddAddress | SwitchOn | SetDefaultRoute

_BLANKS = re.compile(r"[ \t]+")
_STATES = frozenset({"linkdown", "dead"})
"""Words in a row that tell how a route is, and that ip(8) does not take back."""


def default_routes(host: Host) -> tuple[str, ...]:
    """Return the default routes of the main table, as they are used.

    As `ip route` prints them behind `default`; whole where a row begins otherwise, which is of a
    type such as unreachable, or one of several next hops of the row above.
    """
    text = _told(host, "-4", "route", "show", "table", "main", "exact", "default")
    rows = (" ".join(_without_states(row)) for row in lines_of(text))
    return tuple(row.removeprefix("default ") for row in rows)


def _without_states(row: str) -> Iterator[str]:
    # The name of an interface may be such a word, and hold what else Python parts words at.
    words = _BLANKS.split(row.strip(" \t"))
    for before, word in zip(("", *words), words, strict=False):
        if word not in _STATES or before == "dev":
            yield word


def require_before(action: _Action, host: Host) -> None:
    """Raise `ApplyError` unless all is as the plan saw it."""
    match action:
        case SetDefaultRoute(before=before):
            _require_routes(host, before)
        case AddAddress() | SwitchOn():
            if _is_so(action, host):
                raise ApplyError(f"{action.what}: is so already, which the plan did not see")
        case _:
            assert_never(action)


def require_made(action: _Action, host: Host) -> None:
    """Raise `ApplyError` unless the effect of *action* can be read back."""
    if not _is_so(action, host):
        raise ApplyError(f"{action.what}: did not take, or somebody else took it back")


def undo(action: _Action, host: WritableHost) -> None:
    """Put back what was there before *action*, from wherever it was left."""
    match action:
        case SetDefaultRoute():
            _restore_routes(action, host)
        case AddAddress(interface=interface, address=address):
            if _still_so(action, host):
                _ip(host, "addr", "del", address, "dev", interface)
        case SwitchOn(interface=interface):
            if _still_so(action, host):
                _ip(host, "link", "set", "dev", interface, "down")
        case _:
            assert_never(action)


def _still_so(action: AddAddress | SwitchOn, host: Host) -> bool:
    # A tunnel's interface goes with its module, and a boot takes both.
    return bool(host.glob(literal(f"/sys/class/net/{action.interface}"))) and _is_so(action, host)


def _is_so(action: _Action, host: Host) -> bool:
    match action:
        case AddAddress(interface=interface, address=address):
            wanted = ipaddress.ip_interface(address)
            rows = parse_ip_addr(_told(host, "-o", "addr", "show", "dev", interface))
            return wanted in {ipaddress.ip_interface(f"{r.address}/{r.prefix}") for r in rows}
        case SwitchOn(interface=interface):
            row = _told(host, "-o", "link", "show", "dev", interface)
            return "UP" in row.partition("<")[2].partition(">")[0].split(",")
        case SetDefaultRoute(after=after):
            # The kernel adds the device to a route that named its gateway alone.
            wanted_words = set(after.split())
            return any(
                _metric(row) == _metric(after) and wanted_words <= set(row.split())
                for row in default_routes(host)
            )
        case _:
            assert_never(action)


def _restore_routes(action: SetDefaultRoute, host: WritableHost) -> None:
    now = default_routes(host)
    if now == action.before:
        return
    mine = _metric(action.after)
    old = next((row for row in action.before if _metric(row) == mine), None)
    if old is not None:
        _ip(host, "-4", "route", "replace", "default", *old.split(" "))
    elif any(_metric(row) == mine for row in now):
        _ip(host, "-4", "route", "del", "default", *action.after.split())
    _require_routes(host, action.before)


def _metric(row: str) -> str:
    """Return the metric of a route, by which the kernel tells two to one network apart."""
    words = row.split(" ")
    return words[words.index("metric") + 1] if "metric" in words[:-1] else "0"


def _require_routes(host: Host, routes: tuple[str, ...]) -> None:
    now, wanted = (" | ".join(rows) or "none" for rows in (default_routes(host), routes))
    if now != wanted:
        raise ApplyError(f"default route: is {now}, expected {wanted}")


def _told(host: Host, *words: str) -> str:
    if isinstance(host, WritableHost):
        return _ip(host, *words)
    if not (isinstance(host, LiveHost) and host.here):
        raise NotPossible("ip: no command can be run on a recorded host")
    with _refused():
        return run(("ip", *words))


def _ip(host: WritableHost, *words: str) -> str:
    with _refused():
        return host.run(("ip", *words))


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except NotPossible as error:
        raise ApplyError(str(error)) from error
