import dataclasses

from dirtune.analyse.rates import line_counts, line_delta, nic_packets, nic_pps
from dirtune.collect.interrupts import Interrupts, Line
from dirtune.collect.net import Interface

THEN = Line("10", (4294967290, 5), actions=("eth0",))


def delta(**changes):
    now = dataclasses.replace(THEN, **{"counts": (4, 7)} | changes)
    return line_delta(Interrupts((0, 1), (THEN,)), now, (0, 1))


def test_counters_wrap_at_32_bits():
    assert delta() == 10 + 2


def test_a_line_that_changed_hands_or_cpus_has_no_rate():
    now = dataclasses.replace(THEN, counts=(4, 7))

    assert delta(actions=("eth0", "aic7xxx")) is None
    assert delta(irq="11") is None
    assert line_delta(Interrupts((0, 2), (THEN,)), now, (0, 1)) is None
    assert line_delta(None, now, (0, 1)) is None


def test_counts_of_every_numbered_line_even_if_something_came_or_went():
    error = Line("ERR", (3,))
    then = Interrupts((0, 1), (THEN, Line("11", (1, 1)), Line("12", (9, 0)), error))
    now = Interrupts(
        (0, 1), (Line("10", (4, 7)), Line("11", (2, 1, 1)), Line("13", (5, 6)), error)
    )

    assert line_counts(then, now) == {"10": 12, "11": 2, "13": 11}


def test_packets_are_those_of_hardware_in_both_samples():
    def sample(eth0, eth1):
        return (
            Interface("eth0", None, None, True, eth0, 10),
            Interface("eth1", None, None, True, eth1, 0),
            Interface("lo", None, None, False, eth0 * 9, 0),
        )

    assert nic_packets(sample(100, None), sample(160, 5)) == {"eth0": 60}
    assert nic_pps(None, sample(1, 1)) is None
