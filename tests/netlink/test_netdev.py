"""Answers written by hand, after include/uapi/linux/netdev.h."""

import struct

import pytest

from dirtune.errors import ParseError
from dirtune.netlink import genl, netdev
from dirtune.netlink.attributes import u32

RX, TX = 0, 1


def queue(number, kind, *napi):
    """NETDEV_A_QUEUE_ID is 1, _IFINDEX 2, _TYPE 3, _NAPI_ID 4."""
    return u32(1, number) + u32(3, kind) + u32(2, 4) + b"".join(u32(4, each) for each in napi)


def test_queues_are_those_of_their_napi_instance():
    answers = [
        queue(0, RX, 8193),
        queue(1, RX, 8194),
        queue(10, RX, 8195),
        queue(2, RX),  # the driver does not tell
        queue(0, TX, 8193),
        queue(1, TX, 8193) + u32(7, 3),  # a later kernel knows more attributes
        queue(0, 9, 8193),  # a kind that this dirtune does not know
    ]

    assert netdev.parse_queues(answers) == {
        8193: ("rx 0", "tx 0", "tx 1"),
        8194: ("rx 1",),
        8195: ("rx 10",),
    }


def test_an_answer_that_is_cut_off_is_refused():
    with pytest.raises(ParseError):
        netdev.parse_queues([queue(0, RX, 8193)[:-2]])


@pytest.mark.parametrize("error", [genl.Refused(0, 2), OSError(93, "no netlink"), struct.error])
def test_a_kernel_without_the_family_knows_no_queues(monkeypatch, error):
    def refuses(*_):
        raise error

    monkeypatch.setattr(netdev.genl, "Socket", refuses)
    if error is struct.error:  # a defect of dirtune's own is not hidden
        with pytest.raises(struct.error):
            netdev.queues_by_napi()
    else:
        assert netdev.queues_by_napi() == {}
