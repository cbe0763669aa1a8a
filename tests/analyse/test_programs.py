"""CPU time of programs between two readings of /proc/PID/stat."""

import pytest

from dirtune.analyse.programs import by_program
from dirtune.collect.processes import Process


def process(pid, name, ticks, *, kernel=False):
    return Process(pid, name, kernel, ticks, 0, "other", 0)


def test_processes_of_one_name_are_one_program():
    before = (process(10, "nginx", 100), process(11, "nginx", 0), process(3, "perl", 7))
    after = (process(10, "nginx", 400), process(11, "nginx", 200), process(3, "perl", 107))

    # 500 and 100 ticks of 10 ms in 10 s
    found = [(p.name, p.percent) for p in by_program(before, after, 10.0)]
    assert found == [("nginx", pytest.approx(50)), ("perl", pytest.approx(10))]


def test_a_process_that_began_within_the_window_is_counted_whole():
    (found,) = by_program(
        (process(1, "init", 5),), (process(1, "init", 5), process(9, "a", 50)), 1
    )

    assert (found.name, found.percent) == ("a", pytest.approx(50))


@pytest.mark.parametrize("name", ["new", "old"])
def test_a_number_that_was_given_again_is_another_process(name):
    (found,) = by_program((process(9, "old", 900),), (process(9, name, 30),), 1.0)

    assert (found.name, found.percent) == (name, pytest.approx(30))


def test_a_thread_of_the_kernel_is_not_the_program_of_that_name():
    both = (process(1, "nginx", 10, kernel=True), process(2, "nginx", 20))

    assert [p.kernel for p in by_program((), both, 1.0)] == [False, True]
