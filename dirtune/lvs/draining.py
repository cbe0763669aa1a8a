"""Destinations that leave the IPVS table, and the wait until nobody uses them."""

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
    """Destinations that go from one service."""

    service: Service
    """Without destinations."""
    destinations: tuple[DestinationKey, ...]


def wait(leaving: Sequence[Leaving], wait_s: float, host: Host) -> None:
    """Wait until nobody uses what leaves; after *wait_s* seconds `ApplyError` names who does."""
    until_s = time.monotonic() + wait_s
    with kernel.opened(host) as ipvs:
        left = [service for service in leaving if _busy(ipvs, service)]
        while left:
            if time.monotonic() >= until_s:
                raise ApplyError(
                    f"{_busy(ipvs, left[0]) or left[0].service.name} after {wait_s:g} s; "
                    "--drain-wait SECONDS waits longer, --no-drain ends them"
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
