"""The last rung: calls inferred from /proc/interrupts, and what no handler took."""

import pytest

from dirtune.analyse.handlers import HandlerCount
from dirtune.host import RecordedHost
from dirtune.probes.proc import decode, take, unhandled_between

INTERRUPTS = """\
           CPU0       CPU1
 10:       {0}          5   IO-APIC  10-fasteoi   i801_smbus, sym53c8xx, sym53c8xx, enp0s16
 11:          0          0   IO-APIC  11-fasteoi   ehci_hcd:usb2
 24:          7         {1}   PCI-MSI-edge      virtio1-input.0
NMI:          9          9   Non-maskable interrupts
"""
# Documentation of kernel/irq/proc.c, and a young host: jiffies begin at -300 s.
SPURIOUS = "count {}\nunhandled {}\nlast_unhandled {} ms\n"


def reading(count, wrapped, spurious):
    files = {
        "/proc/interrupts": INTERRUPTS.format(count, wrapped),
        "/proc/irq/10/spurious": spurious,
        "/proc/irq/24/spurious": SPURIOUS.format(0, 0, 0),
    }
    return take(RecordedHost(files, {}))


def test_every_handler_of_a_line_ran_for_each_of_its_interrupts():
    before = reading(1000, 4294967295, SPURIOUS.format(47, 3, 4294699400))
    after = reading(1600, 1, SPURIOUS.format(60, 5, 4294699500))

    found = decode(before, after)

    assert found.source == "proc"
    assert found.seconds == after.taken_s - before.taken_s
    assert found.handlers == (
        HandlerCount(10, "enp0s16", 600),
        HandlerCount(10, "i801_smbus", 600),
        HandlerCount(10, "sym53c8xx", 1200),  # two controllers of one name
        HandlerCount(24, "virtio1-input.0", 2),
    )
    assert found.line_counts == {"10": 600, "11": 0, "24": 2}
    assert found.none == {"10": 2, "24": 0}  # of line 11 the host says nothing


@pytest.mark.parametrize(
    ("before", "after", "least"),
    [
        ((0, 0, 0), (0, 0, 0), 0),
        ((40, 3, 500), (90, 3, 500), 0),  # interrupts of others alone
        ((40, 3, 500), (90, 13, 560), 10),
        ((40, 3, 500), (90, 1, 900), 1),  # 100 ms apart: it begins at 1 again
        ((40, 1, 500), (90, 1, 900), 1),
        ((99_990, 40, 500), (3, 0, 700), 0),  # 100,000 looked at: it begins at 0
        ((99_990, 40, 500), (3, 0, 500), 0),
    ],
)
def test_unhandled_interrupts_begin_again(before, after, least):
    assert unhandled_between(SPURIOUS.format(*before), SPURIOUS.format(*after)) == least


@pytest.mark.parametrize("text", ["", "count 1\n", "unhandled x\nlast_unhandled y ms\n"])
def test_no_such_text_is_not_zero(text):
    assert unhandled_between(text, SPURIOUS.format(1, 1, 1)) is None
    assert unhandled_between(SPURIOUS.format(1, 1, 1), text) is None


def test_a_line_whose_counts_were_set_back_is_left_out():
    before, after = reading(1000, 0, ""), reading(50, 3, "")

    found = decode(before, after)

    assert found.line_counts == {"11": 0, "24": 3}
    assert found.handlers == (HandlerCount(24, "virtio1-input.0", 3),)
