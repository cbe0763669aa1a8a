"""Any command: filled in, and read by the plan's expressions."""

import pytest

from dirtune import plan
from dirtune.errors import ParseError, PlanError
from dirtune.plan.generators import Part, Schedule, command
from tests.plans import plan_text

PLAN = plan_text(
    """\
[load.command]
run = "ab -q -c {connections} -t {seconds} -H 'X: {rate} {timeout}' {url}"
replies = 'Complete requests: +(\\d+)'
elapsed = 'Time taken for tests: +([\\d.]+) seconds'
""",
    rates=[150],
    generator="command",
)
OUTPUT = """\
Concurrency Level:      50
Time taken for tests:   16.250 seconds
Complete requests:      48123
Failed requests:        0
"""


def test_command_and_its_numbers():
    load = plan.parse(PLAN).load
    argv = command.command(load, "http://198.18.0.100:80/", Part(Schedule(3, 20, 3000)))

    assert argv == (
        *("ab", "-q", "-c", "50", "-t", "16", "-H", "X: 150 1", "http://198.18.0.100:80/"),
    )
    found = command.parse(OUTPUT, (), load)
    assert (found.replied, found.elapsed_s, found.attempted) == (48123, 16.25, None)
    assert not load.open_loop


def test_an_open_loop_is_one_by_its_owners_word():
    load = plan.parse(PLAN + "open_loop = true\n").load

    assert load.open_loop
    argv = command.command(load, "http://x:80/", Part(Schedule(3, 20, 3000)))
    assert argv[3] == "3000"


def test_a_number_that_is_not_there_is_named():
    load = plan.parse(PLAN).load

    with pytest.raises(ParseError, match=r"load\.command\.elapsed matched nothing"):
        command.parse("Complete requests: 5\n", (), load)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("(\\d+)", "(\\d+", r"load\.command\.replies"),
        ("([\\d.]+)", "[\\d.]+", r"load.command.elapsed: .*group"),
        ("{url}", "{uri}", r"load.command.run: .*'uri'"),
        ("{seconds}", "{}", "load.command.run"),
        ("run =", "# run =", "run"),
    ],
)
def test_errors_name_the_key(old, new, named):
    with pytest.raises(PlanError, match=named):
        plan.parse(PLAN.replace(old, new, 1))
