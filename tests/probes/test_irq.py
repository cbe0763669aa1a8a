"""The pure half of the irq probe, from recorded maps."""

from types import SimpleNamespace

import pytest

from dirtune.analyse.handlers import HandlerCalls
from dirtune.probes.irq import Reading, decode, over_cpus, parse_program_statistics

INTERRUPTS = """\
           CPU0       CPU1
 10:       {0}          5   IO-APIC  10-fasteoi   i801_smbus, sym53c8xx, sym53c8xx, enp0s16
 24:          7         {1}   PCI-MSI-edge      virtio1-input.0
NMI:          9          9   Non-maskable interrupts
"""
NIC, SMBUS, SCSI_A, SCSI_B = 0xA0, 0xB0, 0xC0, 0xD0


def calls(irq, handler, *numbers):
    count, none, ns, none_ns, most = numbers
    return HandlerCalls(irq, handler, count, none, 0, ns, none_ns, most)


def reading(at, interrupts, handlers, lost=0, programs=None):
    return Reading(at, INTERRUPTS.format(*interrupts), handlers, lost, programs)


BEFORE = reading(
    100.0,
    (1000, 3),
    {
        NIC: calls(10, "enp0s16", 1000, 0, 12_000, 0, 80),
        SMBUS: calls(10, "i801_smbus", 1000, 1000, 42_000, 42_000, 750),
    },
    lost=2,
    programs=(5000, 40),
)
AFTER = reading(
    105.0,
    (1600, 4),
    {
        NIC: calls(10, "enp0s16", 1600, 10, 19_000, 100, 80),
        SMBUS: calls(10, "i801_smbus", 1600, 1600, 69_000, 69_000, 900),
        SCSI_A: calls(10, "sym53c8xx", 600, 600, 8000, 8000, 20),
        SCSI_B: calls(10, "sym53c8xx", 600, 599, 9000, 8900, 33),
    },
    lost=5,
    programs=(65_000, 240),
)


def by_name(window):
    return {h.handler: h for h in window.handlers}


def test_window_is_the_difference_of_two_readings():
    window = decode(BEFORE, AFTER, load_seconds=14.5)

    assert window.seconds == 5.0
    assert window.load_seconds == 14.5
    assert window.lost == 3
    # The maximum of an open-ended record has no difference: the later one stands.
    assert by_name(window)["i801_smbus"] == calls(10, "i801_smbus", 600, 600, 27_000, 27_000, 900)
    assert by_name(window)["enp0s16"] == calls(10, "enp0s16", 600, 10, 7000, 100, 80)


def test_handlers_of_one_name_on_one_line_are_summed():
    assert by_name(decode(BEFORE, AFTER, load_seconds=0))["sym53c8xx"] == calls(
        10, "sym53c8xx", 1200, 1199, 17_000, 16_900, 33
    )


def test_one_name_on_two_lines_stays_two_handlers():
    other = {**AFTER.handlers, 0xE0: calls(11, "sym53c8xx", 4, 0, 40, 0, 12)}
    window = decode(BEFORE, reading(105.0, (1600, 4), other), load_seconds=0)

    assert [(h.irq, h.calls) for h in window.handlers if h.handler == "sym53c8xx"] == [
        (10, 1200),
        (11, 4),
    ]


def test_handler_that_did_not_run_in_the_window_is_not_in_it():
    window = decode(BEFORE, reading(101.0, (1000, 3), BEFORE.handlers), load_seconds=0)

    assert window.handlers == ()


def test_line_counts_are_those_of_numbered_lines_in_the_window():
    assert decode(BEFORE, AFTER, load_seconds=0).line_counts == {"10": 600, "24": 1}


def test_line_count_that_wrapped_goes_on():
    before = reading(100.0, (2**32 - 7, 3), {})
    after = reading(105.0, (13, 3), {})

    assert decode(before, after, load_seconds=0).line_counts["10"] == 20


def test_cost_of_the_probe_itself():
    window = decode(BEFORE, AFTER, load_seconds=0)

    assert (window.probe_ns, window.events) == (60_000, 200)


@pytest.mark.parametrize("programs", [None, (5000, 40)])
def test_cost_is_missing_where_statistics_are_absent_or_off(programs):
    window = decode(BEFORE, reading(105.0, (1600, 4), {}, programs=programs), load_seconds=0)

    assert (window.probe_ns, window.events) == (None, None)


# As /proc/self/fdinfo prints a program's descriptor on Linux 6.1 and later.
FDINFO = "pos:\t0\nflags:\t02000002\nprog_type:\t17\nrun_time_ns:\t{}\nrun_cnt:\t{}\n"


def test_program_statistics_are_summed():
    texts = [FDINFO.format(900, 3), FDINFO.format(100, 2)]

    assert parse_program_statistics(texts) == (1000, 5)


def test_program_statistics_of_an_old_kernel_are_missing_not_zero():
    assert parse_program_statistics(["pos:\t0\nprog_type:\t17\n"]) is None


def copy(irq=0, name=b"", **counts):
    fields = dict.fromkeys(("calls", "none", "wake_thread", "total_ns", "none_ns", "max_ns"), 0)
    return SimpleNamespace(irq=irq, name=name, **fields | counts)


def test_only_the_cpu_that_met_the_handler_first_knows_its_name():
    copies = [
        copy(calls=3, none=1, total_ns=90, none_ns=20, max_ns=50),
        copy(10, b"sym53c8xx", calls=4, none=4, wake_thread=2, total_ns=40, none_ns=40, max_ns=12),
    ]

    assert over_cpus(copies) == HandlerCalls(10, "sym53c8xx", 7, 5, 2, 130, 60, 50)
