"""Wait until destinations that will be removed have no active connections."""

import time
from collections.abc import Sequence

import msgspec

from dirtune.addresses import joined
from dirtune.errors import ApplyError
from dirtune.host import Host
from dirtune.lvs import kernel
from dirtune.lvs.model import DestinationKey, Service

_POLL_S = 0.5


class Leaving(msgspec.Struct, frozen=True):
    """The destinations to be removed from one service."""

    service: Service
    """The service without its destinations."""
    destinations: tuple[DestinationKey, ...]


def wait(leaving: Sequence[Leaving], wait_s: float, host: Host) -> None:
    """Wait until the *leaving* destinations have no active connections.

    Raises `ApplyError` after *wait_s* seconds, with a destination that still has connections.
    """
    until_s = time.monotonic() + wait_s
    with kernel.opened(host) as ipvs:
        left = [service for service in leaving if _busy(ipvs, service)]
        while left:
            if time.monotonic() >= until_s:
                name = left[0].service.name
                busy = _busy(ipvs, left[0]) or f"{name} still has active connections"
                raise ApplyError(
                    f"{busy} after {wait_s:g} s. "
                    "Wait longer with --drain-wait SECONDS, or do not wait: --no-drain."
                )
            time.sleep(_POLL_S)
            left = [service for service in left if _busy(ipvs, service)]


def _busy(ipvs: kernel.Kernel, leaving: Leaving) -> str | None:
    active = ipvs.active(leaving.service)
    for key in leaving.destinations:
        if active.get(key):
            name = f"{leaving.service.name} -> {joined(*key)}"
            return f"{name} still has {active[key]} active connections"
    return None
