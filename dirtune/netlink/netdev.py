"""The queues of the NICs, and the NAPI instance that serves each of them.

Format: include/uapi/linux/netdev.h and Documentation/netlink/specs/netdev.yaml (Linux 6.8;
counters of queues 6.9). The kernel knows the instance of a queue only if the driver tells it with
netif_queue_set_napi(), and the interrupt of an instance only with netif_napi_set_irq().
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from dirtune.errors import DirtuneError
from dirtune.formats import parsing
from dirtune.netlink import attributes, genl

_FAMILY, _VERSION = "netdev", 1
_NETDEV_CMD_QUEUE_GET, _NETDEV_CMD_NAPI_GET, _NETDEV_CMD_QSTATS_GET = 10, 11, 12
_NETDEV_A_QSTATS_SCOPE = 4
_NETDEV_QSTATS_SCOPE_QUEUE = 1
KINDS = {0: "rx", 1: "tx"}
"""Names of the types of queues, enum netdev_queue_type."""


class QueueAttributes(NamedTuple):
    """The attributes NETDEV_A_QUEUE_*, in their order."""

    id: int | None = None
    ifindex: int | None = None
    type: int | None = None
    napi_id: int | None = None


class NapiAttributes(NamedTuple):
    """The attributes NETDEV_A_NAPI_*."""

    ifindex: int | None = None
    id: int | None = None
    irq: int | None = None
    """The interrupt number; None if the driver did not set it."""
    pid: int | None = None
    """The thread that polls; None outside threaded mode."""
    defer_hard_irqs: int | None = None
    gro_flush_timeout: bytes = b""
    irq_suspend_timeout: bytes = b""
    threaded: int | None = None
    """NETDEV_NAPI_THREADED_*: 0 no, 1 yes, 2 a thread that polls continuously (6.19)."""


class QstatsAttributes(NamedTuple):
    """The attributes NETDEV_A_QSTATS_*, as far as they are read; numbers have 4 or 8 bytes."""

    ifindex: int | None = None
    queue_type: int | None = None
    queue_id: int | None = None
    scope: bytes = b""
    unused_5: bytes = b""
    unused_6: bytes = b""
    unused_7: bytes = b""
    rx_packets: int | None = None
    rx_bytes: int | None = None
    tx_packets: int | None = None
    tx_bytes: int | None = None
    rx_alloc_fail: int | None = None
    rx_hw_drops: int | None = None
    rx_hw_drop_overruns: int | None = None


class Queues:
    """The queues of the NICs in this network namespace.

    Each method raises `genl.Refused` if the kernel lacks the command.
    """

    def __init__(self, netlink: genl.Socket) -> None:
        self._netlink = netlink

    def napis(self) -> tuple[NapiAttributes, ...]:
        """Return all NAPI instances of drivers that registered them."""
        return parse_napis(self._netlink.dump(_NETDEV_CMD_NAPI_GET))

    def queues(self) -> tuple[QueueAttributes, ...]:
        """Return all queues of interfaces that are up."""
        return parse_attributes(self._netlink.dump(_NETDEV_CMD_QUEUE_GET))

    def counters(self) -> tuple[QstatsAttributes, ...]:
        """Return the counters of all queues of drivers that have them."""
        scope = attributes.u32(_NETDEV_A_QSTATS_SCOPE, _NETDEV_QSTATS_SCOPE_QUEUE)
        return parse_counters(self._netlink.dump(_NETDEV_CMD_QSTATS_GET, scope))


@contextmanager
def opened() -> Iterator[Queues]:
    """Yield access to the queues. Raises `genl.Refused` if the kernel lacks the family."""
    with genl.Socket(_FAMILY, _VERSION) as netlink:
        yield Queues(netlink)


@parsing("netlink")
def parse_napis(answers: Iterable[bytes]) -> tuple[NapiAttributes, ...]:
    """Parse the answers to NETDEV_CMD_NAPI_GET."""
    return tuple(map(attributes.Reader(NapiAttributes), answers))


@parsing("netlink")
def parse_attributes(answers: Iterable[bytes]) -> tuple[QueueAttributes, ...]:
    """Parse the answers to NETDEV_CMD_QUEUE_GET."""
    return tuple(map(attributes.Reader(QueueAttributes), answers))


@parsing("netlink")
def parse_counters(answers: Iterable[bytes]) -> tuple[QstatsAttributes, ...]:
    """Parse the answers to NETDEV_CMD_QSTATS_GET."""
    return tuple(map(attributes.Reader(QstatsAttributes), answers))


def queues_by_napi() -> dict[int, tuple[str, ...]]:
    """Return the queues, such as `rx 0`, of each NAPI instance of this network namespace, by id.

    The result is empty before Linux 6.8, or if no driver tells the instances of its queues.
    """
    try:
        with genl.Socket(_FAMILY, _VERSION) as netdev:
            return parse_queues(netdev.dump(_NETDEV_CMD_QUEUE_GET))
    except (DirtuneError, OSError):
        return {}  # The ids of the instances remain.


@parsing("netlink")
def parse_queues(answers: Iterable[bytes]) -> dict[int, tuple[str, ...]]:
    """Parse the answers to NETDEV_CMD_QUEUE_GET."""
    read = attributes.Reader(QueueAttributes)
    found: dict[int, list[tuple[int, int]]] = {}
    for queue in map(read, answers):
        if queue.napi_id and queue.id is not None and queue.type in KINDS:
            found.setdefault(queue.napi_id, []).append((queue.type, queue.id))
    return {
        napi: tuple(f"{KINDS[kind]} {number}" for kind, number in sorted(queues))
        for napi, queues in found.items()
    }
