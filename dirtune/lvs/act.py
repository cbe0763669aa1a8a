"""Carry out what changes IPVS, and take it back.

Undoing is safe to repeat and works from wherever an edit was left: it goes from what is there now
to what was there before.
"""

import time

from dirtune.addresses import joined
from dirtune.errors import ApplyError
from dirtune.host import Host
from dirtune.lvs import diff, kernel
from dirtune.lvs.change import DrainIpvs, EditIpvs, Leaving
from dirtune.lvs.model import Table

_POLL_S = 0.5


def require_before(edit: EditIpvs, host: Host) -> None:
    """Raise `ApplyError` unless the table is what the plan saw."""
    _require(host, edit, edit.before, "is not as the plan saw it: somebody else changed it")


def make(edit: EditIpvs, host: Host) -> None:
    """Carry out *edit*."""
    with kernel.opened(host) as ipvs:
        ipvs.carry_out(diff.diff(edit.before, edit.after))


def require_made(edit: EditIpvs, host: Host) -> None:
    """Raise `ApplyError` unless the table reads back as it should."""
    _require(host, edit, edit.after, "did not take: the kernel or somebody else has it otherwise")


def undo(edit: EditIpvs, host: Host) -> None:
    """Put back what was there before *edit*; where ip_vs is gone there is nothing left of it."""
    if not kernel.loaded(host):
        return
    with kernel.opened(host) as ipvs:
        now = ipvs.read()
        ipvs.carry_out(diff.diff(diff.only(now, _both(edit)), edit.before))
    _require(host, edit, edit.before, "is not what was put back: somebody else changes it")


def drain(action: DrainIpvs, host: Host) -> None:
    """Wait for what leaves; `ApplyError` names what still has active connections at the end."""
    until_s = time.monotonic() + action.wait_s
    with kernel.opened(host) as ipvs:
        left = [each for each in action.leaving if _busy(ipvs, each)]
        while left:
            if time.monotonic() >= until_s:
                raise ApplyError(
                    f"{_busy(ipvs, left[0]) or left[0].service.name} after {action.wait_s:g} s; "
                    "--drain-wait SECONDS waits longer, --no-drain cuts them off"
                )
            time.sleep(_POLL_S)
            left = [each for each in left if _busy(ipvs, each)]


def _busy(ipvs: kernel.Kernel, leaving: Leaving) -> str | None:
    active = ipvs.active(leaving.service)
    for key in leaving.destinations:
        if active.get(key):
            name = f"{leaving.service.name} -> {joined(*key)}"
            return f"{name}: still has {active[key]} active connections"
    return None


def _require(host: Host, edit: EditIpvs, expected: Table, problem: str) -> None:
    with kernel.opened(host) as ipvs:
        now = diff.only(ipvs.read(), _both(edit))
    steps = diff.diff(now, expected)
    if steps:
        raise ApplyError(f"{steps[0].name}: {problem}; plan again")


def _both(edit: EditIpvs) -> Table:
    """Return a table that speaks of everything that either side does."""
    services = diff.by_key((*edit.before.services, *edit.after.services))
    return Table(tuple(services.values()), edit.after.timeouts, edit.after.daemons)
