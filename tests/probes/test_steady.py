"""A kernel's counter and a probe's counts, read while events come."""

from types import SimpleNamespace

import pytest

from dirtune.collect.interrupts import parse_interrupts
from dirtune.probes import irq, softirq, steady, tracefs

INTERRUPTS = """\
            CPU0       CPU1
 10:  {0:>10}          5   IO-APIC  10-fasteoi   eth0
 24:           7          1   PCI-MSI 49152-edge      virtio1-input.0
LOC:  {1:>10}  123456789   Local timer interrupts
"""
SOFTIRQS = "                    CPU0       CPU1\n      NET_RX:  {0:>8}         5\n"
ETH0 = 0xA0


class Machine:
    """A host where `coming` interrupts of line 10 come before each next reading."""

    def __init__(self, coming, more=""):
        self.coming, self.count, self.timer, self.more = list(coming), 1000, 0, more
        self.texts = 0

    def event(self):
        self.count += self.coming.pop(0) if self.coming else 0
        self.timer += 99  # the local timer never stands still

    def read(self, path):
        self.event()
        if path.endswith("hist"):
            return f"{{ irq: 10, name: eth0 }} hitcount: {self.count}\n"
        self.texts += 1
        text = SOFTIRQS if path == "/proc/softirqs" else INTERRUPTS
        return text.format(self.count, self.timer) + self.more

    def __getitem__(self, table):
        match table:
            case "irq_names":
                name = SimpleNamespace(value=ETH0), SimpleNamespace(irq=10, name=b"eth0")
                return SimpleNamespace(items=lambda: [name])
            case "irq_handlers" | "softirq_times":
                return Rows(self)
            case "irq_lost" | "softirq_lost":
                return [[0]]
        return {}


class Rows:
    def __init__(self, machine):
        self.machine = machine

    def __getitem__(self, _):
        self.machine.event()
        number = self.machine.count
        names = ("none", "wake_thread", "total_ns", "none_ns", "max_ns", "delays", "delay_ns")
        fields = dict.fromkeys((*names, "delay_max_ns"), 0)
        slots = {"slots": (0,), "delay_slots": (0,)}
        return [SimpleNamespace(action=ETH0, calls=number, runs=number, **fields, **slots)]

    def items(self):
        return [(SimpleNamespace(value=3), self[3])]


def by_interrupts(machine):
    reading = irq.read(machine, machine)
    (calls,) = reading.handlers[ETH0]
    return parse_interrupts(reading.interrupts).numbered[0].counts[0], calls.calls


def by_softirqs(machine):
    reading = softirq.read(machine, machine)
    return int(reading.softirqs.split()[3]), reading.times[0].runs


def by_tracefs(machine):
    reading = tracefs._reading(machine, "instance")
    (calls,) = tracefs.parse_hist(reading.exits).hits.values()
    return parse_interrupts(reading.interrupts).numbered[0].counts[0], calls


# What comes before each reading of the counter and of the counts in turn: as many of the counts
# as the probe reads.
@pytest.mark.parametrize(
    ("way", "counts"), [(by_interrupts, 1), (by_softirqs, 1), (by_tracefs, 2)]
)
def test_counter_and_counts_are_of_one_moment_once_no_event_comes_between(way, counts):
    still = Machine([])
    busy = Machine([0, *[2] * counts, 3, *[0] * counts, 0])

    assert way(still) == (1000, 1000)
    assert still.texts == 2
    # The first attempt would have been 2 or 4 apart, at a counter of 1000.
    assert way(busy) == (1003 + 2 * counts, 1003 + 2 * counts)
    assert busy.texts == 3


def test_of_readings_that_never_stand_still_the_one_with_the_fewest_events_is_used():
    machine = Machine([0, 40, 9, 2, 1, 30, 8, 100, 100])

    assert by_interrupts(machine) == (1049, 1051)
    assert machine.texts == 1 + steady.ATTEMPTS


def test_a_machine_with_a_large_counter_reads_it_once():
    machine = Machine([0, 5], more="NMI: 0 0 Non-maskable interrupts\n" * 5000)

    assert by_interrupts(machine) == (1000, 1005)
    assert machine.texts == 1


def test_events_are_those_of_numbered_lines_and_of_all_vectors():
    before, after = (INTERRUPTS.format(n, n) for n in (7, 9))

    assert steady.events(before, before) == 0
    assert steady.events(before, INTERRUPTS.format(7, 8)) == 0, "only the timer's row moved"
    assert steady.events(before, after) == 2
    assert steady.events(before, f"{after} 25: 4 3 PCI-MSI eth1\n") == 9, "a new line"
    assert steady.events(SOFTIRQS.format(1), SOFTIRQS.format(4)) == 3
