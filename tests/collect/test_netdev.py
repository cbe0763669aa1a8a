"""Queues as a 6.18 kernel reports them; the bytes were recorded from its netlink answers."""

import json
import struct

import pytest

from dirtune.collect.netdev import Napi, NicQueue, NicQueues, parse_netdev, queues_of
from dirtune.errors import ParseError
from dirtune.netlink import genl, netdev


def attributes(**numbers):
    """Attributes of 4 bytes by their numbers, such as a8 for attribute 8."""
    return b"".join(struct.pack("=HHI", 8, int(k[1:]), v) for k, v in numbers.items())


# 6.18, virtio_net: the order of attributes is the kernel's.
QUEUES = [attributes(a1=0, a3=0, a2=4, a4=257), attributes(a1=0, a3=1, a2=4)]
NAPIS = [attributes(a2=257, a1=4, a8=2, a5=0, a7=0, a6=0, a3=41, a4=812)]
COUNTERS = [
    attributes(a1=4, a2=0, a3=0, a8=63_912, a9=7) + struct.pack("=HHQ", 12, 14, 5),
    attributes(a1=4, a2=1, a3=0, a10=33_128),
]


class Kernel:
    def dump(self, command, request=b""):
        if command == 12:  # NETDEV_CMD_QSTATS_GET, with NETDEV_A_QSTATS_SCOPE queue
            assert request == attributes(a4=1)
        return {10: QUEUES, 11: NAPIS, 12: COUNTERS}[command]


class Old(Kernel):
    def dump(self, command, request=b""):
        if command == 12:
            raise genl.Refused(0, 95)
        return super().dump(command, request)


def test_a_queue_has_its_interrupt_its_thread_and_its_counters():
    found = queues_of(netdev.Queues(Kernel()))

    assert found.napis == (Napi(4, 257, irq=41, pid=812, busy_polls=True),)
    assert found.queues == (
        NicQueue(4, "rx", 0, 257, 63_912, 5),
        NicQueue(4, "tx", 0, None, 33_128),
    )
    assert [found.interrupt(queue) for queue in found.queues] == [41, None]


def test_a_kernel_without_counters_has_the_rest():
    found = queues_of(netdev.Queues(Old()))

    assert found.queues[0] == NicQueue(4, "rx", 0, 257)
    assert found.napis


def test_a_record_keeps_the_answer():
    text = '{"napis": [{"ifindex": 4, "id": 257, "irq": 41}], "queues": []}'

    assert parse_netdev(text) == NicQueues((Napi(4, 257, 41),))


@pytest.mark.parametrize("text", ["", "[]", json.dumps({"napis": [{"id": 1}]})])
def test_other_texts_are_refused(text):
    with pytest.raises(ParseError):
        parse_netdev(text)
