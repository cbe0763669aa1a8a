"""The cost of a fail-over, from the moments at which clients got answers."""

import pytest

from dirtune.analyse.failover import Silence, longest, usual

# Answers every 0.1 s for 5 s, silence for 3.6 s, and answers again until 20 s.
STEADY = [n / 10 for n in range(51)]
AGAIN = [8.6 + n / 10 for n in range(115)]


def test_the_silence_is_from_the_last_answer_to_the_next():
    silence = longest([*AGAIN, *STEADY], 5.0, 20.0)

    assert silence.at_s == 5.0
    assert silence.seconds == pytest.approx(3.6)
    assert silence.ended


def test_a_silence_before_the_command_is_not_the_fail_overs():
    early = [n / 10 for n in range(10)]  # and nothing until 4 s
    late = [4 + n / 10 for n in range(10)] + [6 + n / 10 for n in range(141)]

    silence = longest([*early, *late], 5.0, 20.0)

    assert silence.at_s == pytest.approx(4.9)
    assert silence.seconds == pytest.approx(1.1)
    assert usual([*early, *late], 5.0) == pytest.approx(3.1)


def test_a_silence_to_the_end_of_the_load_has_not_ended():
    assert longest(STEADY, 5.0, 20.0) == Silence(5.0, 15.0, ended=False)


def test_a_load_that_ends_with_an_answer_has_no_silence_at_its_end():
    silence = longest([*STEADY, *AGAIN, 20.3], 5.0, 20.0)

    assert silence.ended
    assert silence.seconds == pytest.approx(3.6)


def test_no_answer_is_no_number():
    assert longest([], 5.0, 20.0) is None
    assert usual([1.0], 5.0) is None
    assert usual([], 5.0) is None
