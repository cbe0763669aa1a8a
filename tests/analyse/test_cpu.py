"""CPU shares, against vmstat's meaning and numbers worked out by hand."""

import pytest

from dirtune.analyse import cpu
from dirtune.analyse.cpu import GroupTimes, Sample
from dirtune.collect.stat import parse_stat


def sample(at_s, total, *cpus):
    rows = [f"cpu  {total}", *(f"cpu{n} {times}" for n, times in enumerate(cpus))]
    return Sample(at_s, parse_stat("\n".join(rows) + "\n"))


#               user nice system idle iowait irq softirq steal guest guest_nice
BEFORE = sample(10.0, "100 10 50 800 20 5 15 0 0 0")
AFTER = sample(11.0, "120 15 60 855 22 6 20 2 0 0")  # +20 +5 +10 +55 +2 +1 +5 +2 = 100 ticks


def test_shares_of_one_second():
    found = cpu.shares(BEFORE, AFTER)

    assert found == {
        "user": 25,  # with nice
        "system": 16,  # with irq and softirq
        "idle": 55,
        "iowait": 2,
        "irq": 1,
        "softirq": 5,
        "steal": 2,
        "unaccounted": 0,
    }


def test_busy_time_leaves_out_idle_waiting_and_stolen_time():
    # 20 + 5 + 10 + 1 + 5 ticks of 10 ms
    assert cpu.busy_s(BEFORE, AFTER) == pytest.approx(0.41)


def test_idle_contains_waiting_for_a_disk():
    assert cpu.idle_percent(BEFORE, AFTER) == 57


def test_an_old_kernel_has_no_interrupt_columns():
    found = cpu.shares(sample(0, "0 0 0 0"), sample(1, "10 0 30 60"))

    assert found == {"user": 10, "system": 30, "idle": 60, "unaccounted": 0}


def test_no_time_is_not_zero_per_cent():
    assert cpu.shares(BEFORE, BEFORE) is None
    assert cpu.shares(Sample(1.0), Sample(2.0)) is None
    assert cpu.busy_s(Sample(1.0), Sample(2.0)) is None
    assert cpu.node_cpu("n", "director", [BEFORE]) is None


def test_a_container_is_the_share_of_its_own_cpus():
    before, after = GroupTimes(1.0, 2.0, 2), GroupTimes(1.5, 3.0, 2)
    earlier, later = Sample(10, BEFORE.stat, before), Sample(12, AFTER.stat, after)

    # 2 s on 2 CPUs are 4 s: 0.5 s user, 1 s system
    assert cpu.shares(earlier, later) == {"user": 12.5, "system": 25, "idle": 62.5}
    assert cpu.busy_s(earlier, later) == 1.5
    found = cpu.node_cpu("rs1", "real server", [earlier, later])
    assert (found.source, found.per_cpu) == ("cgroup", {})


def test_mean_and_standard_deviation_over_intervals():
    samples = [
        sample(0, "0 0 0 0 0 0 0 0", "0 0 0 0 0 0 0 0"),
        sample(1, "10 0 0 90 0 0 0 0", "10 0 0 90 0 0 0 0"),
        sample(2, "30 0 0 170 0 0 0 0", "30 0 0 170 0 0 0 0"),
        sample(3, "60 0 0 240 0 0 0 0", "60 0 0 240 0 0 0 0"),
    ]

    found = cpu.node_cpu("lb1", "director", samples)

    assert found.samples == 3
    assert found.states["user"].mean == pytest.approx(20)  # 10, 20, 30
    assert found.states["user"].sd == pytest.approx(10)
    assert found.per_cpu["cpu0"]["idle"].mean == pytest.approx(80)
    assert cpu.whole(found.states)


def test_columns_that_do_not_sum_to_100_are_noticed():
    states = cpu.node_cpu("lb1", "director", [BEFORE, AFTER]).states

    assert cpu.whole(states)
    assert not cpu.whole({**states, "idle": states["user"]})


# A director at 150 connections/s, 5.18 s apart: 418 of 518 ticks were idle, and the thread of
# its virtual CPU ran for 0.8 s on the host, while the columns hold 0.22 s of work.


def test_time_that_the_kernel_charges_to_nobody_is_work():
    earlier = sample(0, "0 0 0 0 0 0 0 0", "0 0 0 0 0 0 0 0")
    later = sample(5.18, "4 0 4 418 0 0 14 0", "4 0 4 418 0 0 14 0")

    found = cpu.shares(earlier, later)

    assert cpu.busy_s(earlier, later) == pytest.approx(1.00)
    assert found["unaccounted"] == pytest.approx(100 * 78 / 518)
    assert found["system"] == pytest.approx(100 * (18 + 78) / 518)
    assert sum(found[name] for name in ("user", "system", "idle")) == pytest.approx(100)
    per_cpu = cpu.node_cpu("lb1", "director", [earlier, later]).per_cpu["cpu0"]
    assert per_cpu["idle"].mean == pytest.approx(100 * 418 / 518)


def test_two_cpus_have_twice_the_time():
    earlier = sample(0, "0 0 0 0 0 0 0 0", "0 0 0 0 0 0 0 0", "0 0 0 0 0 0 0 0")
    later = sample(1, "50 0 0 130 0 0 0 0", "50 0 0 50 0 0 0 0", "0 0 0 80 0 0 0 0")

    assert cpu.busy_s(earlier, later) == pytest.approx(0.7)
    assert cpu.shares(earlier, later)["unaccounted"] == pytest.approx(10)


def test_the_busiest_cpu():
    # In one second of 100 ticks cpu0 waited 90 + 4 and worked 6, cpu1 waited 30 and worked 70.
    before = sample(10.0, "0 0 0 200 0 0 0 0", "0 0 0 100 0 0 0 0", "0 0 0 100 0 0 0 0")
    after = sample(11.0, "66 0 10 320 4 0 0 0", "6 0 0 190 4 0 0 0", "60 0 10 130 0 0 0 0")

    assert cpu.busiest_percent(before, after) == pytest.approx(70)
    # Of a container with two CPUs only the sum is known: 1 s of 2 s.
    first = Sample(10.0, group=GroupTimes(5.0, 1.0, 2))
    assert cpu.busiest_percent(first, Sample(11.0, group=GroupTimes(5.75, 1.25, 2))) == 50
    assert cpu.busiest_percent(Sample(10.0), Sample(11.0)) is None
