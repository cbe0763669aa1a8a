"""What holds for every generator: found by name, and schedules dealt out to processes."""

import typing

import pytest

from dirtune.plan import generators
from dirtune.plan.generators import Part, Schedule
from dirtune.plan.load import Load


def test_every_name_a_plan_may_give_is_found():
    annotation = typing.get_type_hints(Load)["generator"]

    assert set(generators.names()) == set(typing.get_args(annotation))
    for name in generators.names():
        found = generators.find(name)
        for member in ("parts", "command", "parse"):
            assert hasattr(found, member), (name, member)


def test_one_process_takes_all():
    assert generators.split(Schedule(3, 20, 300), 1) == (Part(Schedule(3, 20, 300)),)


def starts(part):
    """When each tick of a process is, in milliseconds."""
    ticks = part.ticks
    return [
        round(1000 * part.delay_s) + n * ticks.period_ms
        for n in range(ticks.connections // ticks.batch)
    ]


@pytest.mark.parametrize("processes", [2, 3, 7])
def test_processes_together_do_what_one_would(processes):
    whole = Schedule(2, 10, 2 * 100)

    parts = generators.split(whole, processes)

    assert sorted(at for part in parts for at in starts(part)) == list(range(0, 1000, 10))


def test_a_ramp_rises_in_steps_and_ends_with_the_load():
    parts = generators.split(Schedule(1, 10, 600), 3, ramp_s=3)

    # 33.3/s more at 0 s, about 1 s and about 2 s, each until the end at 6 s.
    assert [part.delay_s for part in parts] == [0, 1.0, 2.0]
    assert [part.ticks.period_ms for part in parts] == [30, 30, 30]
    assert [max(starts(part)) for part in parts] == [5970, 5980, 5990]
