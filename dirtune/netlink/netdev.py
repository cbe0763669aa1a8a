"""The queues of the NICs, and the NAPI instance that serves each of them.

Format: include/uapi/linux/netdev.h and Documentation/netlink/specs/netdev.yaml (Linux 6.8). The
kernel knows the instance of a queue only if the driver tells it with netif_queue_set_napi().
"""

from collections.abc import Iterable
from typing import NamedTuple

from dirtune.errors import DirtuneError
from dirtune.formats import parsing
from dirtune.netlink import attributes, genl

_FAMILY, _VERSION = "netdev", 1
_NETDEV_CMD_QUEUE_GET = 10
_KINDS = {0: "rx", 1: "tx"}  # enum netdev_queue_type


class QueueAttributes(NamedTuple):
    """The attributes NETDEV_A_QUEUE_*, in their order."""

    id: int | None = None
    ifindex: int | None = None
    type: int | None = None
    napi_id: int | None = None


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
        if queue.napi_id and queue.id is not None and queue.type in _KINDS:
            found.setdefault(queue.napi_id, []).append((queue.type, queue.id))
    return {
        napi: tuple(f"{_KINDS[kind]} {number}" for kind, number in sorted(queues))
        for napi, queues in found.items()
    }
