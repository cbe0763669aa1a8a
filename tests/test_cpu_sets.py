"""Lists and masks of CPUs, against what the kernel prints of the same sets."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dirtune.cpu_sets import format_cpulist, format_cpumask, parse_cpulist, parse_cpumask
from dirtune.errors import ParseError

SETS = st.frozensets(st.integers(0, 300))
# The kernel's own: bitmap_print_to_pagebuf() of these CPUs.
LISTS = [((0, 1, 2, 3, 8), "0-3,8"), ((0,), "0"), ((0, 1), "0-1"), ((), "")]
MASKS = [((0,), "1"), ((1, 2, 3), "e"), ((31,), "80000000"), ((0, 32), "1,00000001"), ((), "0")]


@pytest.mark.parametrize(("cpus", "text"), LISTS)
def test_a_list_is_the_kernels(cpus, text):
    assert format_cpulist(cpus) == text
    assert parse_cpulist(f"{text}\n") == cpus


@pytest.mark.parametrize(("cpus", "text"), MASKS)
def test_a_mask_is_the_kernels(cpus, text):
    assert format_cpumask(cpus) == text
    assert parse_cpumask(f"{text}\n") == cpus


def test_an_unset_list_and_an_empty_mask_are_no_cpus():
    assert parse_cpulist("(null)\n") == ()
    assert parse_cpumask("") == ()


@pytest.mark.parametrize(
    ("like", "text"),
    [("0000,00000000", "0001,00000001"), ("ff", "1,00000001"), ("", "1,00000001")],
)
def test_a_mask_has_as_many_digits_as_the_one_it_is_compared_with(like, text):
    assert format_cpumask((0, 32), like=like) == text


@given(SETS)
def test_a_set_reads_back(cpus):
    assert set(parse_cpulist(format_cpulist(cpus))) == cpus
    assert set(parse_cpumask(format_cpumask(cpus))) == cpus


@pytest.mark.parametrize("parse", [parse_cpulist, parse_cpumask])
def test_a_word_is_neither(parse):
    with pytest.raises(ParseError):
        parse("zwei")


@pytest.mark.parametrize("text", ["3-1-2", "3-1", "-1", "1,,2", "0-3/2", "\u0663"])
def test_a_list_in_another_form_is_refused(text):
    with pytest.raises(ParseError):
        parse_cpulist(text)


@pytest.mark.parametrize("text", ["-1", "+1", "1_0", "0x0x1", "1 1"])
def test_a_mask_in_another_form_is_refused(text):
    with pytest.raises(ParseError):
        parse_cpumask(text)


def test_a_mask_of_a_configuration_file_may_begin_with_0x():
    assert parse_cpumask("0x0000000F") == (0, 1, 2, 3)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_cpumask, "f" * 1_000_000),
        (parse_cpumask, "1" + "0" * 16_385),
        (parse_cpulist, ",".join(["0-65535"] * 100_000)),
        (parse_cpulist, ",".join(["7"] * 70_000)),
    ],
    ids=["long mask", "one CPU too many", "the same span again", "the same CPU again"],
)
def test_a_text_that_names_more_cpus_than_any_kernel_has_is_refused_at_once(parse, text):
    began = time.process_time()

    with pytest.raises(ParseError):
        parse(text)
    assert time.process_time() - began < 1


def test_the_largest_mask_and_list_are_read():
    assert parse_cpumask("8" + "0" * 16_383) == (65_535,)
    assert len(parse_cpulist("0-65535")) == 65_536
