"""Queues of NICs as the kernel reports them: NAPI instances, interrupts, threads and counters.

`netlink.netdev` queries the kernel; the classes here are the form in which a record keeps the
answer. It names interfaces by their numbers only.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TypeVar

import msgspec

from dirtune.collect.answers import NETDEV, answer
from dirtune.errors import DirtuneError, ParseError
from dirtune.formats import from_json
from dirtune.host import Host
from dirtune.netlink import netdev

SOURCES = (NETDEV,)
_T = TypeVar("_T")


class Napi(msgspec.Struct, frozen=True):
    """One NAPI instance: what polls the queues of one interrupt."""

    ifindex: int
    id: int
    irq: int | None = None
    """None if the driver did not tell the kernel."""
    pid: int | None = None
    """The thread that polls; None if softirqs poll."""
    busy_polls: bool = False
    """Whether the thread polls continuously, so that its CPU is always busy."""


class NicQueue(msgspec.Struct, frozen=True):
    """One queue of a NIC."""

    ifindex: int
    kind: str
    """rx or tx."""
    id: int
    napi: int | None = None
    """Id of the NAPI instance that serves the queue; None if the driver did not tell."""
    packets: int | None = None
    """Packets since the queue was made; None if the driver does not count them."""
    overruns: int | None = None
    """Received packets that were dropped for lack of buffers or descriptors; None if unknown."""


class NicQueues(msgspec.Struct, frozen=True):
    """NAPI instances and queues of all NICs in one network namespace."""

    napis: tuple[Napi, ...] = ()
    queues: tuple[NicQueue, ...] = ()

    def interrupt(self, queue: NicQueue) -> int | None:
        """Return the interrupt of *queue*; None if unknown."""
        known = (n.irq for n in self.napis if n.id == queue.napi and n.ifindex == queue.ifindex)
        return next(known, None)


def read_netdev(host: Host) -> NicQueues:
    """Read the netlink answer in the record. Raises `SourceMissing` if netlink was not queried."""
    return parse_netdev(answer(host, NETDEV))


def parse_netdev(text: str) -> NicQueues:
    """Parse the JSON in which a record keeps the netlink answer."""
    try:
        return from_json(text, NicQueues)
    except msgspec.MsgspecError as error:
        raise ParseError("netlink's answer about queues", str(error)) from error


def queues_of(queues: netdev.Queues) -> NicQueues:
    """Return the NAPI instances and queues that the kernel reports.

    A kernel that lacks a command reports none of its objects.
    """
    counters = {(c.ifindex, c.queue_type, c.queue_id): c for c in _dumped(queues.counters)}
    none = netdev.QstatsAttributes()
    return NicQueues(
        tuple(
            Napi(n.ifindex, n.id, n.irq, n.pid, n.threaded == 2)
            for n in _dumped(queues.napis)
            if n.ifindex is not None and n.id is not None
        ),
        tuple(
            _queue(q, counters.get((q.ifindex, q.type, q.id), none))
            for q in _dumped(queues.queues)
            if q.ifindex is not None and q.id is not None and q.type in netdev.KINDS
        ),
    )


def _queue(queue: netdev.QueueAttributes, counters: netdev.QstatsAttributes) -> NicQueue:
    received = queue.type == 0
    return NicQueue(
        queue.ifindex or 0,
        netdev.KINDS[queue.type or 0],
        queue.id or 0,
        queue.napi_id,
        counters.rx_packets if received else counters.tx_packets,
        counters.rx_hw_drop_overruns if received else None,
    )


def _dumped(dump: Callable[[], Iterable[_T]]) -> Iterable[_T]:
    with suppress(DirtuneError, OSError):
        return dump()
    return ()
