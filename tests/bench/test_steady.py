"""Steady or not, by series whose answer is plain."""

import pytest

from dirtune.bench.steady import growing, unsteady

EVEN = [150] * 10


@pytest.mark.parametrize(
    ("replies", "number"),
    [
        (EVEN, None),
        ([150, 157, 143, 150, 150, 150, 150, 150, 150, 150], None),  # within 5 %
        ([150, 160, 150, 150, 150, 150, 150, 150, 150, 150], "160"),
        ([20, 18, 22, 20, 20, 20, 20, 20, 20, 20], None),  # 10 %, and only two replies
        ([148, 148, 149, 149, 150, 150, 151, 151, 152, 152], "+3"),
        ([152, 152, 151, 151, 150, 150, 149, 149, 148, 148], "-3"),
        ([1500, 1500, 1501, 1501, 1502, 1502, 1503, 1503, 1504, 1504], None),  # 0.3 %
        ([148, 152, 148, 152, 149, 152, 150, 151, 149, 153], None),  # rises, and only by chance
        ([0] * 10, None),  # what answers nothing is not unsteady
        ([150], None),
    ],
)
def test_replies_of_each_second(replies, number):
    found = unsteady(replies, [1.0] * len(replies))

    assert (found is None) == (number is None)
    assert number is None or number in found


def test_open_requests():
    assert unsteady(EVEN, [100.0] * 9 + [109.0]) is None
    assert "115" in unsteady(EVEN, [100.0] * 9 + [115.0])
    assert unsteady(EVEN, [2.0] * 9 + [6.0]) is None, "four more are chance"


def test_the_table():
    assert growing(1000, 1010, 10) is None
    assert "1.1%" in growing(1000, 1011, 10)
    assert "1.1%" in growing(1000, 1066, 60)
    assert growing(0, 10, 10) is None, "chance"
    assert "15.0%" in growing(0, 150, 10)
    assert growing(None, None, 10) is None
