"""Attributes written by hand, after struct nlattr of include/uapi/linux/netlink.h."""

import struct
from typing import NamedTuple

import pytest

from dirtune.netlink.attributes import Reader, nest, number, raw, text, u16, u32


class Told(NamedTuple):
    small: int = 0
    name: bytes = b""
    wide: int | None = None


ALL = bytes.fromhex("05000100 07000000 06000200 65740000 0c000300 0100000001000000")


def test_a_field_is_the_attribute_of_its_place_whatever_its_width():
    read = Reader(Told)

    assert read(ALL) == Told(7, b"et", 2**32 + 1)
    assert read(u32(3, 5) + u16(1, 6)) == Told(6, b"", 5)


def test_four_bytes_of_a_text_are_no_number():
    assert Reader(Told)(raw(2, b"sed\0")).name == b"sed\0"


def test_what_is_missing_has_its_default_and_what_is_unknown_is_skipped():
    read = Reader(Told)

    assert read(b"") == Told()
    assert read(raw(99, b"newer") + u16(1, 6) + nest(4, u32(1, 1)) + raw(0, b"")) == Told(6)


def test_flags_of_a_type_are_not_the_type_and_the_last_of_a_type_counts():
    # NLA_F_NESTED and NLA_F_NET_BYTEORDER are the two highest bits.
    assert Reader(Told)(u16(0x8001, 3) + u16(0x4001, 4)) == Told(4)


def test_messages_of_one_length_and_another_layout_are_not_mixed_up():
    read = Reader(Told)

    for _ in range(2):
        assert read(u32(1, 3) + u32(3, 4)) == Told(3, b"", 4)
        assert read(u32(3, 5) + u32(1, 6)) == Told(6, b"", 5)


@pytest.mark.parametrize(
    "data",
    [
        ALL[:-1],  # cut off
        struct.pack("=HHI", 3, 1, 0),  # shorter than its head
        struct.pack("=HHI", 0, 1, 0),
        struct.pack("=HHI", 0xFFFF, 1, 0),
        raw(1, b"abc"),  # no width that a number has
        raw(1, b""),
    ],
)
def test_what_is_not_of_the_form_is_an_error(data):
    with pytest.raises(ValueError, match="attribute"):
        Reader(Told)(data)


def test_texts_and_numbers():
    assert text(b"eth0\0\0") == "eth0"
    assert text(b"\xff\0") == "\\xff"
    assert number(struct.pack("=I", 70000)) == 70000
    assert number(b"") == 0
