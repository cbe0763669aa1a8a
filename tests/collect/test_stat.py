import pytest

from dirtune.collect.stat import parse_stat
from dirtune.errors import ParseError

TEXT = """\
cpu  463 0 2309 11585 294 0 91 7 0 0
cpu1 200 0 1000 5000 100 0 40 7 0 0
cpu3 263 0 1309 6585 194 0 51 0 0 0
intr 34167 144 9 0
ctxt 5
"""


def test_times_are_by_the_cpu_of_the_row():
    stat = parse_stat(TEXT)

    assert [cpu.cpu for cpu in stat.cpus] == [1, 3]
    assert stat.total.cpu is None
    assert stat.total.softirq == 91
    assert stat.total.total == 463 + 2309 + 11585 + 294 + 91 + 7
    assert stat.interrupts == 34167


def test_columns_an_old_kernel_lacks_are_none_and_not_zero():
    times = parse_stat("cpu 1 2 3 4\n").total

    assert (times.idle, times.iowait, times.steal) == (4, None, None)
    assert times.total == 10


def test_guest_time_is_in_user_time_already():
    assert parse_stat("cpu 100 0 0 0 0 0 0 0 60 0\n").total.total == 100


@pytest.mark.parametrize(
    "text",
    ["", "intr 5\n", "cpu 1 2 3\n", "cpu a b c d\n", "cpu0 1 2 3 4\n", f"cpu {'9' * 400} 2 3 4\n"],
)
def test_anything_else_is_refused(text):
    with pytest.raises(ParseError, match="/proc/stat"):
        parse_stat(text)
