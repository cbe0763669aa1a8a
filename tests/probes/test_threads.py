"""Threads of interrupt handlers: wakeups and CPU time between two readings."""

import pytest

from dirtune.analyse.probed import IrqThreadTime
from dirtune.host import RecordedHost
from dirtune.probes.threads import decode, parse_cpu_ns, parse_switches, take

STATUS = """\
Name:\t{name}
State:\tS (sleeping)
Mems_allowed_list:\t0
voluntary_ctxt_switches:\t{switches}
nonvoluntary_ctxt_switches:\t17
"""


def reading(*threads):
    files = {"/proc/1/comm": "systemd\n", "/proc/1/status": STATUS.format(name="a", switches=5)}
    for pid, name, switches, schedstat in threads:
        files[f"/proc/{pid}/comm"] = f"{name}\n"
        if switches is not None:
            files[f"/proc/{pid}/status"] = STATUS.format(name=name, switches=switches)
        if schedstat is not None:
            files[f"/proc/{pid}/schedstat"] = schedstat
    return take(RecordedHost(files, {}))


def test_a_window_is_the_difference_of_two_readings():
    before = reading(
        (125, "irq/10-sym53c8xx", 1000, "5000000 300 1000\n"),
        (134, "irq/10-enp0s16", 900, "7000000 400 900\n"),
        (90, "irq/9-acpi", 2, "1000 1 2\n"),
    )
    after = reading(
        (125, "irq/10-sym53c8xx", 1300, "9500000 600 1300\n"),
        (134, "irq/10-enp0s16", 1199, "17000000 800 1199\n"),
        (90, "irq/9-acpi", 2, "1000 1 2\n"),
    )

    assert decode(before, after) == (
        IrqThreadTime(9, "acpi", 0, 0),
        IrqThreadTime(10, "enp0s16", 299, 10_000_000),
        IrqThreadTime(10, "sym53c8xx", 300, 4_500_000),
    )


@pytest.mark.parametrize("text", [None, "0 0 0\n", "", "5 5\n"])
def test_a_kernel_that_keeps_no_time_still_counts_wakeups(text):
    before = reading((125, "irq/10-eth1", 7, text))
    after = reading((125, "irq/10-eth1", 9, "500 1 9\n"))

    assert decode(before, after) == (IrqThreadTime(10, "eth1", 2, None),)
    assert decode(after, reading((125, "irq/10-eth1", 9, text)))[0].cpu_ns is None


def test_a_thread_that_came_or_went_is_left_out():
    old, new = (125, "irq/10-eth1", 7, "1 1 1\n"), (126, "irq/10-eth1", 9, "1 1 1\n")

    assert decode(reading(old), reading(new)) == ()
    assert decode(reading(old, new), reading((125, "irq/10-eth1", None, None), new)) == (
        IrqThreadTime(10, "eth1", 0, 0),
    )


def test_the_other_kind_of_switch_is_not_taken_for_it():
    assert parse_switches("nonvoluntary_ctxt_switches:\t17\n") is None
    assert parse_switches(STATUS.format(name="x", switches=3)) == 3
    assert parse_cpu_ns("123456789 5 6") == 123_456_789
