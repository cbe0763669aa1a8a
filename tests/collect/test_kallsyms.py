"""/proc/kallsyms of a Debian 6.1 guest, cut to what the tests ask for."""

import pytest

from dirtune.collect.kallsyms import parse_kallsyms
from dirtune.errors import ParseError

TEXT = """\
ffffffff81000000 T _stext
ffffffff8110a3c0 T native_queued_spin_lock_slowpath
ffffffff81b0e6f0 T _raw_spin_lock
ffffffff81b0e740 T _raw_spin_lock_bh
ffffffffc0a01000 t ip_vs_in_hook\t[ip_vs]
ffffffffc0a02d00 b __ip_vs_conntbl_lock_array\t[ip_vs]
ffffffffc0b00000 t ip_vs_rr_schedule\t[ip_vs_rr]
ffffffffc0c00000 t bpf_prog_3d4ceb3b1c8f96ce_softirq_entry\t[bpf]
"""


def test_an_address_lies_in_the_symbol_before_it():
    symbols = parse_kallsyms(TEXT)

    assert symbols.at(0xFFFFFFFF8110A3C0) == "native_queued_spin_lock_slowpath"
    assert symbols.at(0xFFFFFFFF81B0E73F) == "_raw_spin_lock"
    # The eleventh lock of an array is in the array.
    assert symbols.at(0xFFFFFFFFC0A02D00 + 10 * 64) == "__ip_vs_conntbl_lock_array [ip_vs]"


def test_what_no_symbol_covers_has_no_name():
    symbols = parse_kallsyms(TEXT)

    assert symbols.at(0xFFFF888003A1C2C0) is None, "memory that was allocated"
    assert symbols.at(0x1000) is None
    assert symbols.at(0xFFFFFFFFC0C00000 + (1 << 20)) is None


def test_rows_need_not_be_in_order():
    first, *rest = TEXT.splitlines(keepends=True)

    assert parse_kallsyms("".join((*rest, first))) == parse_kallsyms(TEXT)


def test_a_return_address_is_looked_up_before_the_next_function():
    # A function whose last word is a call returns to the first address of the next one.
    stack = (0xFFFFFFFF8110A3C0, 0xFFFFFFFF81B0E740)

    assert parse_kallsyms(TEXT).frames(stack) == (
        "native_queued_spin_lock_slowpath",
        "_raw_spin_lock",
    )


def test_a_frame_without_a_symbol_keeps_its_address():
    assert parse_kallsyms(TEXT).frames((0x1000,)) == ("0x1000",)


def test_hidden_addresses_are_no_symbols():
    hidden = "0000000000000000 T _stext\n0000000000000000 t ip_vs_in_hook\t[ip_vs]\n"

    assert parse_kallsyms(hidden).names == ()


def test_a_function_is_the_kernels_or_a_modules():
    symbols = parse_kallsyms(TEXT)

    assert symbols.in_module("_raw_spin_lock") is False
    assert symbols.in_module("ip_vs_in_hook") is True
    assert symbols.in_module("ip_vs_in") is None


@pytest.mark.parametrize("text", ["what?\n", "ffffffff81000000 T\n", "\x00\x01 T x\n"])
def test_another_text_is_refused(text):
    with pytest.raises(ParseError, match="/proc/kallsyms: line 1"):
        parse_kallsyms(text)


def test_a_function_goes_before_the_mark_of_a_section_at_its_address():
    # From a kernel 5.10: the names in the order of the file.
    text = (
        "ffffffff81c00000 T __do_softirq\n"
        "ffffffff81c00000 T __softirqentry_text_start\n"
        "ffffffff81c00400 T __softirqentry_text_end\n"
        "ffffffff81000000 T _stext\n"
        "ffffffff81000000 T _text\n"
        "ffffffff81000000 T startup_64\n"
    )
    symbols = parse_kallsyms(text)

    assert symbols.at(0xFFFFFFFF81C00010) == "__do_softirq"
    assert symbols.at(0xFFFFFFFF81000000) == "startup_64"
    assert "__softirqentry_text_start" in symbols.known
