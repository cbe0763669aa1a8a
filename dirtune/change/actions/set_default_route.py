"""Replace the default route of a host."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Self

import msgspec

from dirtune.change import interfaces, ip
from dirtune.change.action import Saved
from dirtune.errors import ApplyError
from dirtune.host import Host, WritableHost


class SetDefaultRoute(ip.IpAction, frozen=True, tag="route"):
    """Replace the default route of a host."""

    before: tuple[str, ...]
    """The default routes that the plan saw: what `ip route` prints after the word `default`."""
    after: str
    """The new route. It replaces the route with the same metric; if there is none, it is added."""

    @property
    def what(self) -> str:
        """The new route, as messages name it."""
        return "default route"

    @property
    def words(self) -> tuple[str, ...]:
        return ("route", "replace", "default", *self.after.split())

    def save(self, host: WritableHost) -> Saved:
        _require(host, self.before)
        links = {link for row in (*self.before, self.after) if (link := _link(row)) is not None}
        return Saved(interfaces=interfaces.known(host, sorted(links)))

    def require_made(self, saved: Saved, host: Host) -> None:
        # The kernel adds the device to a route that names only its gateway.
        words = {*self.after.split()}
        made = any(
            _metric(row) == _metric(self.after) and words <= {*row.split()}
            for row in ip.default_routes(host)
        )
        ip.require_made(self.what, made=made)

    def undo(self, saved: Saved, host: WritableHost) -> None:
        now = ip.default_routes(host)
        *before, after = (_as_now(row, saved, host) for row in (*self.before, self.after))
        if now == tuple(before):
            return
        mine = _metric(after)
        old = next((row for row in before if _metric(row) == mine), None)
        if old is not None:
            ip.change(host, "-4", "route", "replace", "default", *old.split(" "))
        elif any(_metric(row) == mine for row in now):
            ip.change(host, "-4", "route", "del", "default", *after.split())
        _require(host, before)

    def as_now(self, saved: Saved, host: Host) -> Self:
        return msgspec.structs.replace(self, after=_as_now(self.after, saved, host))


def _require(host: Host, routes: Iterable[str]) -> None:
    now, expected = (" | ".join(rows) or "none" for rows in (ip.default_routes(host), routes))
    if now != expected:
        raise ApplyError(f"The default route is {now}, expected {expected}")


def _link(row: str) -> str | None:
    """Return the interface of a route; None if the row names only the gateway."""
    return next((name for word, name in pairwise(row.split(" ")) if word == "dev"), None)


def _as_now(row: str, saved: Saved, host: Host) -> str:
    """Return a route with the present name of its interface."""
    link = _link(row)
    if link is None:
        return row
    name = interfaces.name_now(host, link, saved.interfaces) or link
    return row.replace(f"dev {link}", f"dev {name}", 1)


def _metric(row: str) -> str:
    """Return the metric of a route, which distinguishes two routes to the same network."""
    words = row.split(" ")
    return words[words.index("metric") + 1] if "metric" in words[:-1] else "0"
