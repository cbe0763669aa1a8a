import dataclasses

import pytest

from dirtune.analyse.rates import (
    interrupts,
    line_counts,
    line_delta,
    line_deltas,
    nic_packets,
    nic_pps,
)
from dirtune.collect.interrupts import Interrupts, Line
from dirtune.collect.net import Interface

THEN = Line("10", (4294967290, 5), actions=("eth0",))


def delta(**changes):
    now = dataclasses.replace(THEN, **{"counts": (4, 7)} | changes)
    return line_delta(Interrupts((0, 1), (THEN,)), now, (0, 1), 2.0)


def test_counters_wrap_at_32_bits():
    assert delta() == 10 + 2


def test_a_line_that_changed_hands_or_cpus_has_no_rate():
    now = dataclasses.replace(THEN, counts=(4, 7))

    assert delta(actions=("eth0", "aic7xxx")) is None
    assert delta(irq="11") is None
    assert line_delta(Interrupts((0, 2), (THEN,)), now, (0, 1), 2.0) is None
    assert line_delta(None, now, (0, 1), 2.0) is None


@pytest.mark.parametrize(
    ("then", "now", "seconds", "risen"),
    [
        (100, 50, 2.0, None),  # as a wrap 4,294,967,246: 2,147,483,623 a second
        (3_000_000_000, 50, 2.0, None),  # as a wrap 1,294,967,346: 647,483,673 a second
        (4_294_967_290, 4, 2.0, 10),
        (4_294_967_290, 4, 0.0, 10),
        (4_284_967_296, 10_000_000, 2.0, 20_000_000),  # 10,000,000 before and after 2**32
        (4_284_967_296, 10_000_001, 2.0, None),
        (3_000_000_000, 50, 600.0, 1_294_967_346),  # 2,158,279 a second may be
    ],
)
def test_a_count_that_was_set_back_has_not_wrapped(then, now, seconds, risen):
    assert interrupts(then, now, seconds) == risen


def test_one_count_set_back_leaves_the_whole_line_unknown():
    then = Interrupts((0, 1), (Line("10", (100, 7), actions=("eth0",)), Line("11", (1, 1))))
    line = Line("10", (50, 9), actions=("eth0",))
    now = Interrupts((0, 1), (line, Line("11", (4, 6))))

    assert line_delta(then, line, (0, 1), 2.0) is None
    assert line_deltas(then, line, (0, 1), 2.0) is None
    assert line_counts(then, now, 2.0) == {"11": 8}


def test_a_row_of_text_with_more_counts_than_before_has_no_rate():
    then = Interrupts((0, 1), (Line("ERR", (3,)),))

    assert line_delta(then, Line("ERR", (4, 0)), (0, 1), 2.0) is None


def test_counts_of_every_numbered_line_even_if_something_came_or_went():
    error = Line("ERR", (3,))
    then = Interrupts((0, 1), (THEN, Line("11", (1, 1)), Line("12", (9, 0)), error))
    now = Interrupts(
        (0, 1), (Line("10", (4, 7)), Line("11", (2, 1, 1)), Line("13", (5, 6)), error)
    )

    assert line_counts(then, now, 2.0) == {"10": 12, "11": 2, "13": 11}


def test_packets_are_those_of_hardware_in_both_samples():
    def sample(eth0, eth1):
        return (
            Interface("eth0", None, None, True, eth0, 10),
            Interface("eth1", None, None, True, eth1, 0),
            Interface("lo", None, None, False, eth0 * 9, 0),
        )

    assert nic_packets(sample(100, None), sample(160, 5)) == {"eth0": 60}
    assert nic_pps(None, sample(1, 1)) is None
