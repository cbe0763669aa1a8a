"""Read the kernel's IPVS table, and carry out steps on it.

This module makes no decisions. It never loads ip_vs: it looks up the netlink family, which would
load the module, only if /proc shows that ip_vs is loaded. Even reading needs CAP_NET_ADMIN.
"""

import errno
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import starmap

from dirtune.errors import ApplyError, DirtuneError, NotPossible
from dirtune.host import Host
from dirtune.lvs import wire
from dirtune.lvs.diff import Step, Verb
from dirtune.lvs.model import Destination, DestinationKey, Seen, Service, Table
from dirtune.netlink import genl, ip_vs

_REFUSALS = {
    errno.EEXIST: "the entry exists already, because another program added it. Plan again",
    errno.ESRCH: "the service is gone, because another program changed the table. Plan again",
    errno.ENOMEM: "the kernel has no memory left for the entry",
    errno.ENODEV: "the interface does not exist on this host",
    errno.ERANGE: "a weight or threshold is outside the kernel's range",
    errno.EAFNOSUPPORT: "the IPVS of this kernel does not support IPv6",
}


class Kernel:
    """Access to the IPVS table of this network namespace."""

    def __init__(self, socket: genl.Socket) -> None:
        self._socket = socket
        self._reader = ip_vs.Reader(socket)

    def read(self) -> Table:
        """Return the current IPVS table."""
        with _asking():
            return self._table(starmap(wire.service, self._reader.services()))

    def read_counted(self) -> tuple[Table, tuple[Seen, ...]]:
        """Return the current IPVS table, and the counters of its services in the same order."""
        with _asking():
            found = self._reader.services()
            return self._table(starmap(wire.service, found)), tuple(starmap(self._seen, found))

    def active(self, service: Service) -> dict[DestinationKey, int]:
        """Return the number of active connections of each destination of *service*."""
        with _asking():
            found = self._reader.destinations(wire.key(service))
        return {wire.destination_key(each): each.active_conns for each in found}

    def carry_out(self, steps: Sequence[Step]) -> None:
        """Carry out *steps* in order.

        Raises `ApplyError`, which names the first step that the kernel refused.
        """
        try:
            self._socket.carry_out([wire.request(step) for step in steps])
        except genl.Refused as error:
            raise _refusal(steps[error.index], error) from error

    def _table(self, services: Iterable[Service]) -> Table:
        return Table(
            tuple(services),
            wire.timeouts(self._reader.config()),
            tuple(map(wire.daemon, self._reader.daemons())),
        )

    def _seen(
        self, service: ip_vs.ServiceAttributes, destinations: Iterable[ip_vs.DestAttributes]
    ) -> Seen:
        stats = self._reader.stats
        return Seen(
            wire.numbers(stats(service)),
            tuple(
                (
                    (destination.active_conns, destination.inact_conns, destination.persist_conns),
                    wire.numbers(stats(destination)),
                )
                for destination in destinations
            ),
        )


@contextmanager
def opened(host: Host) -> Iterator[Kernel]:
    """Yield access to the IPVS table of *host*, which is this machine.

    Raises `NotPossible` if ip_vs is not loaded.
    """
    if not loaded(host):
        raise NotPossible(
            "ip_vs is not loaded, so there is no IPVS table. Load it: `dirtune lvs apply --load`"
        )
    try:
        socket = genl.Socket(ip_vs.IPVS_GENL_NAME, ip_vs.IPVS_GENL_VERSION)
    except genl.Refused as error:
        raise NotPossible(f"This kernel lacks the netlink family IPVS: {error}") from error
    with socket:
        yield Kernel(socket)


def loaded(host: Host) -> bool:
    """Return whether ip_vs is loaded, without loading it."""
    return bool(host.glob(ip_vs.LOADED))


@contextmanager
def _asking() -> Iterator[None]:
    try:
        yield
    except genl.Refused as error:
        raise _unreadable(error) from error


def _unreadable(error: genl.Refused) -> DirtuneError:
    if error.errno == errno.EPERM:
        return NotPossible("IPVS: reading the table needs CAP_NET_ADMIN. Run dirtune with sudo")
    if error.errno in {errno.ESRCH, errno.ENOENT}:
        return NotPossible("IPVS: a service was removed while dirtune read the table. Try again")
    return NotPossible(f"IPVS: the kernel refused to list the table: {error}")


def _refusal(step: Step, error: genl.Refused) -> DirtuneError:
    if error.errno == errno.EPERM:
        return NotPossible("IPVS: changing the table needs CAP_NET_ADMIN. Run dirtune with sudo")
    return ApplyError(f"{step.name}: {_why(step, error)}")


def _why(step: Step, error: genl.Refused) -> str:
    match step.what, error.errno:
        case Service() as service, errno.ENOENT if step.verb is not Verb.DEL:
            engine = f" or the persistence engine {service.engine}" if service.engine else ""
            return f"this kernel lacks the scheduler {service.scheduler}{engine}"
        case Destination(), errno.ENOENT:
            return "the destination is gone, because another program changed the table. Plan again"
        case Destination() as destination, errno.EINVAL:
            return f"the kernel refuses the forwarding method {destination.forwarding} ({error})"
    return _REFUSALS.get(error.errno, str(error))
