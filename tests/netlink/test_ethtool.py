"""Answers written by hand, after include/uapi/linux/ethtool.h and ethtool_netlink.h."""

import ctypes
import struct
from array import array

import pytest

from dirtune.errors import ParseError
from dirtune.netlink import ethtool, genl
from dirtune.netlink.attributes import nest, raw, u32

NAMES = ("rx_drops", "", "tx_drops")
STRINGS = struct.pack("=III32s32s32s", 0x1B, 1, 3, b"rx_drops", b"", b"tx_drops\0junk")
STATISTICS = struct.pack("=IIQQQ", 0x1D, 3, 2**40, 0, 7)


def test_rings_are_those_that_the_driver_names():
    # ETHTOOL_A_RINGS_RX_MAX is 2, _RX 6, _TX_PUSH 13; 17 and 18 came with Linux 6.14.
    answer = nest(1, raw(2, b"eth0\0")) + u32(2, 4096) + u32(6, 256) + raw(13, b"\1") + u32(17, 9)

    assert ethtool.parse_rings(answer) == {"rx_max": 4096, "rx": 256, "tx_push": 1}


def test_strings_end_with_a_nul_and_are_as_many_as_the_kernel_says():
    assert ethtool.parse_strings(STRINGS + bytes(320)) == list(NAMES)


def test_statistics_are_numbers_of_64_bits():
    assert ethtool.parse_statistics(STATISTICS + bytes(80), NAMES) == {
        "rx_drops": 2**40,
        "": 0,
        "tx_drops": 7,
    }


def test_counters_that_changed_between_names_and_values_are_none():
    with pytest.raises(ParseError, match="from 2 to 3"):
        ethtool.parse_statistics(STATISTICS, NAMES[:2])


def test_a_feature_is_on_by_active_and_fixed_unless_available():
    # struct ethtool_get_features_block: available, requested, active, never_changed.
    blocks = struct.pack("=IIII", 0b01, 0b11, 0b10, 0) + struct.pack("=IIII", 1, 1, 1, 1)
    names = ("tx-lockless", "rx-gro", *("",) * 30, "rx-lro")

    found = ethtool.parse_features(struct.pack("=II", 0x3A, 2) + blocks, names)

    assert found["tx-lockless"] == {"on": False, "fixed": False}
    assert found["rx-gro"] == {"on": True, "fixed": True}
    assert found["rx-lro"] == {"on": True, "fixed": False}


@pytest.mark.parametrize(
    ("parse", "answer"),
    [
        (ethtool.parse_rings, u32(2, 1)[:-1]),
        (ethtool.parse_strings, STRINGS[:-1]),
        (ethtool.parse_strings, b""),
        (ethtool.parse_strings, struct.pack("=III", 0x1B, 1, 2**32 - 1)),
        (lambda data: ethtool.parse_numbers(data, ("rx",)), bytes(7)),
        (lambda data: ethtool.parse_features(data, NAMES), bytes(23)),
        (lambda data: ethtool.parse_statistics(data, NAMES), STATISTICS[:-1]),
        (lambda data: ethtool.parse_statistics(data, NAMES), b"1"),
    ],
)
def test_an_answer_cut_off_is_a_parse_error(parse, answer):
    with pytest.raises(ParseError):
        parse(answer)


def test_counters_that_became_more_since_they_were_announced_have_room(monkeypatch):
    """The kernel writes as many strings and numbers as there are when it is asked."""
    answers = [struct.pack("=IIQI", 0x37, 0, 2, 1), STRINGS, STATISTICS]
    rooms = {}

    def room(kind, data):
        made = array(kind, data)
        rooms[made.buffer_info()[0]] = len(made)
        return made

    def asked(control, request, ifreq):
        name, address = struct.unpack("16sP16x", ifreq)
        assert (request, name) == (0x8946, b"eth0".ljust(16, b"\0"))
        answer = answers.pop(0)
        assert len(answer) <= rooms[address]
        ctypes.memmove(address, answer, len(answer))

    monkeypatch.setattr(ethtool, "array", room)
    monkeypatch.setattr(ethtool, "ioctl", asked)

    assert ethtool.Cards(None, None).statistics("eth0") == {
        "rx_drops": 2**40,
        "": 0,
        "tx_drops": 7,
    }


def test_rings_that_netlink_refuses_are_asked_by_ioctl(monkeypatch):
    class Refusing:
        def get(self, command, attributes):
            # ETHTOOL_MSG_RINGS_GET; ETHTOOL_A_RINGS_HEADER with ETHTOOL_A_HEADER_DEV_NAME.
            assert (command, attributes) == (15, nest(1, raw(2, b"eth0\0")))
            raise genl.Refused(0, 95)

    def numbers(cards, name, question):
        # ETHTOOL_GRINGPARAM, and eight numbers behind it.
        assert question == struct.pack("=I", 0x10) + bytes(32)
        return struct.pack("=9I", 0x10, 1, 2, 3, 4, 5, 6, 7, 8)

    monkeypatch.setattr(ethtool.Cards, "_ask", numbers)

    assert ethtool.Cards(None, Refusing()).rings("eth0") == {
        "rx_max": 1,
        "rx_mini_max": 2,
        "rx_jumbo_max": 3,
        "tx_max": 4,
        "rx": 5,
        "rx_mini": 6,
        "rx_jumbo": 7,
        "tx": 8,
    }


def test_an_rss_table_is_read_in_its_own_size_and_set_whole(monkeypatch):
    """struct ethtool_rxfh_indir: the command, the size, the queues."""
    asked = []

    def answer(cards, name, question):
        asked.append((name, question))
        # ETHTOOL_GRXFHINDIR; without room, the kernel only writes the size.
        return struct.pack("=II", 0x38, 4) + struct.pack("=4I", 1, 0, 3, 0)[: len(question) - 8]

    monkeypatch.setattr(ethtool.Cards, "_ask", answer)
    cards = ethtool.Cards(None, None)

    assert cards.rss_table("eth0") == (1, 0, 3, 0)
    cards.set_rss_table("eth0", (2, 1))
    cards.set_rss_table("eth0", ())

    assert asked == [
        ("eth0", struct.pack("=II", 0x38, 0)),
        ("eth0", struct.pack("=II", 0x38, 4) + bytes(16)),
        ("eth0", struct.pack("=IIII", 0x39, 2, 2, 1)),  # ETHTOOL_SRXFHINDIR
        ("eth0", struct.pack("=II", 0x39, 0)),  # the driver's own
    ]


def test_a_torn_rss_table_is_none():
    with pytest.raises(ParseError):
        ethtool.parse_rss_table(struct.pack("=III", 0x38, 2, 0))
