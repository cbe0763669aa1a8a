"""The kernel's IPVS: read it, and carry out steps.

Nothing here decides. Nothing here loads ip_vs: the family is looked up, which would load it, only
where /proc says that it is there. Needs CAP_NET_ADMIN, for reading too.
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
    errno.EEXIST: "it exists already, because another program changes the table. Plan again",
    errno.ESRCH: "its service is gone, because another program changes the table. Plan again",
    errno.ENOMEM: "the kernel has no memory left for it",
    errno.ENODEV: "this host has no such interface",
    errno.ERANGE: "a weight or threshold is outside the kernel's range",
    errno.EAFNOSUPPORT: "the IPVS of this kernel does not support IPv6",
}


class Kernel:
    """An open door to the IPVS of this network namespace."""

    def __init__(self, socket: genl.Socket) -> None:
        self._socket = socket
        self._reader = ip_vs.Reader(socket)

    def read(self) -> Table:
        """Return how IPVS is set up."""
        with _asking():
            return self._table(starmap(wire.service, self._reader.services()))

    def read_counted(self) -> tuple[Table, tuple[Seen, ...]]:
        """Return how IPVS is set up, and the counters of each service."""
        with _asking():
            found = self._reader.services()
            return self._table(starmap(wire.service, found)), tuple(starmap(self._seen, found))

    def active(self, service: Service) -> dict[DestinationKey, int]:
        """Return the active connections of each destination of *service*."""
        with _asking():
            found = self._reader.destinations(wire.key(service))
        return {wire.destination_key(each): each.active_conns for each in found}

    def carry_out(self, steps: Sequence[Step]) -> None:
        """Do *steps* in order; `ApplyError` names the first that the kernel refused."""
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
    """Yield the kernel of *host*, this machine; `NotPossible` where ip_vs is not loaded."""
    if not loaded(host):
        raise NotPossible(
            "ip_vs is not loaded, so there is no IPVS table. Load it: `dirtune lvs apply --load`"
        )
    try:
        socket = genl.Socket(ip_vs.IPVS_GENL_NAME, ip_vs.IPVS_GENL_VERSION)
    except genl.Refused as error:
        raise NotPossible(
            f"The IPVS family of netlink is missing on this kernel: {error}"
        ) from error
    with socket:
        yield Kernel(socket)


def loaded(host: Host) -> bool:
    """Return whether ip_vs is loaded; the look-up loads nothing."""
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
        return NotPossible("IPVS: a service was removed while the table was read. Try again")
    return NotPossible(f"IPVS: the kernel refused to list the table: {error}")


def _refusal(step: Step, error: genl.Refused) -> DirtuneError:
    if error.errno == errno.EPERM:
        return NotPossible("IPVS: changing the table needs CAP_NET_ADMIN. Run dirtune with sudo")
    return ApplyError(f"{step.name}: {_why(step, error)}")


def _why(step: Step, error: genl.Refused) -> str:
    match step.what, error.errno:
        case Service() as service, errno.ENOENT if step.verb is not Verb.DEL:
            engine = f" or no persistence engine {service.engine}" if service.engine else ""
            return f"this kernel has no scheduler {service.scheduler}{engine}"
        case Destination(), errno.ENOENT:
            return "it is gone, because another program changes the table. Plan again"
        case Destination() as destination, errno.EINVAL:
            return f"the kernel refuses the forwarding {destination.forwarding} ({error})"
    return _REFUSALS.get(error.errno, str(error))
