"""The kernel's IPVS: read it, and carry out steps.

Nothing here decides. Nothing here loads ip_vs: the family is looked up, which would load it, only
where /proc says that it is there. Needs CAP_NET_ADMIN, for reading too.
"""

import errno
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from dirtune.errors import ApplyError, DirtuneError, NotPossible
from dirtune.host import Host
from dirtune.lvs import genl, wire
from dirtune.lvs.diff import Step, Verb
from dirtune.lvs.model import Destination, DestinationKey, Seen, Service, Table

LOADED = "/proc/net/ip_vs"
_REFUSALS = {
    errno.EEXIST: "is there already: somebody else changes the table; plan again",
    errno.ESRCH: "its service is gone: somebody else changes the table; plan again",
    errno.ENOMEM: "the kernel has no memory for it",
    errno.ENODEV: "there is no such interface",
    errno.ERANGE: "a weight or threshold is out of the kernel's range",
    errno.EAFNOSUPPORT: "this kernel's IPVS has no IPv6",
}
_Found = list[tuple[Destination, tuple[int, int, int], bytes]]


class Kernel:
    """An open door to the IPVS of this network namespace."""

    def __init__(self, socket: genl.Socket) -> None:
        self._socket = socket
        self._decoder = wire.Decoder()

    def read(self) -> Table:
        """Return how IPVS is set up."""
        return self._table(_whole(bare, found) for bare, _, found in self._services())

    def read_counted(self) -> tuple[Table, tuple[Seen, ...]]:
        """Return how IPVS is set up, and what it counts of each service."""
        numbers = self._decoder.numbers
        services, seen = [], []
        for bare, own, found in self._services():
            services.append(_whole(bare, found))
            counted = tuple((connections, numbers(data)) for _, connections, data in found)
            seen.append(Seen(numbers(own), counted))
        return self._table(services), tuple(seen)

    def active(self, service: Service) -> dict[DestinationKey, int]:
        """Return the active connections of each destination of *service*."""
        found = self._decoded(service, self._asked(service))
        return {each.key: active for each, (active, _, _), _ in found}

    def carry_out(self, steps: Sequence[Step]) -> None:
        """Do *steps* in order; `ApplyError` names the first that the kernel refused."""
        try:
            self._socket.carry_out([wire.request(step) for step in steps])
        except genl.Refused as error:
            raise _refusal(steps[error.index], error) from error

    def _table(self, services: Iterable[Service]) -> Table:
        daemons = tuple(map(self._decoder.daemon, self._dump(wire.GET_DAEMON)))
        return Table(tuple(services), self._decoder.timeouts(self._get(wire.GET_CONFIG)), daemons)

    def _services(self) -> Iterator[tuple[Service, bytes, _Found]]:
        services = [self._decoder.service(each) for each in self._dump(wire.GET_SERVICE)]
        # All are asked before any is decoded: the quicker the answers come, the more are they of
        # one moment, and to go to and fro takes a third longer.
        answers = [self._asked(service) for service, _ in services]
        for (service, counted), payloads in zip(services, answers, strict=True):
            yield service, counted, self._decoded(service, payloads)

    def _asked(self, service: Service) -> list[bytes]:
        return self._dump(wire.GET_DEST, wire.service_key(service))

    def _decoded(self, service: Service, answers: Iterable[bytes]) -> _Found:
        return [self._decoder.destination(each, service.family) for each in answers]

    def _dump(self, command: int, attributes: bytes = b"") -> list[bytes]:
        try:
            return self._socket.dump(command, attributes)
        except genl.Refused as error:
            raise _unreadable(error) from error

    def _get(self, command: int) -> bytes:
        try:
            return self._socket.get(command)
        except genl.Refused as error:
            raise _unreadable(error) from error


@contextmanager
def opened(host: Host) -> Iterator[Kernel]:
    """Yield the kernel of *host*, this machine; `NotPossible` where ip_vs is not loaded."""
    if not loaded(host):
        raise NotPossible(
            "ip_vs is not loaded: nothing was set up; `dirtune lvs apply --load` loads it"
        )
    try:
        socket = genl.Socket(wire.FAMILY, wire.VERSION)
    except genl.Refused as error:
        raise NotPossible(f"netlink: this kernel tells of no IPVS: {error}") from error
    with socket:
        yield Kernel(socket)


def _whole(bare: Service, found: _Found) -> Service:
    return msgspec.structs.replace(bare, destinations=tuple(each for each, _, _ in found))


def loaded(host: Host) -> bool:
    """Return whether ip_vs is there; asking loads nothing."""
    return bool(host.glob(LOADED))


def _unreadable(error: genl.Refused) -> DirtuneError:
    if error.errno == errno.EPERM:
        return NotPossible("IPVS: needs CAP_NET_ADMIN, for reading too; run it with sudo")
    if error.errno in {errno.ESRCH, errno.ENOENT}:
        return NotPossible("IPVS: a service went while it was read; try again")
    return NotPossible(f"IPVS: {error}")


def _refusal(step: Step, error: genl.Refused) -> DirtuneError:
    if error.errno == errno.EPERM:
        return NotPossible("IPVS: changing it needs CAP_NET_ADMIN; run it with sudo")
    return ApplyError(f"{step.name}: {_why(step, error)}")


def _why(step: Step, error: genl.Refused) -> str:
    match step.what, error.errno:
        case Service() as service, errno.ENOENT if step.verb is not Verb.DEL:
            engine = f" or no persistence engine {service.engine}" if service.engine else ""
            return f"this kernel has no scheduler {service.scheduler}{engine}"
        case Destination(), errno.ENOENT:
            return "is gone: somebody else changes the table; plan again"
        case Destination() as destination, errno.EINVAL:
            return f"the kernel does not take it by {destination.forwarding} ({error})"
    return _REFUSALS.get(error.errno, str(error))
