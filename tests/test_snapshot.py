from dirtune.host import RecordedHost
from dirtune.snapshot import take, take_all

INTERRUPTS = "           CPU0\n 10:         40    XT-PIC      sym53c8xx, eth1\n"
FIRST = RecordedHost(
    {"/proc/interrupts": INTERRUPTS, "/proc/cmdline": "noapic\n"},
    {"/sys/class/net/eth1": "../../devices/pci0000:00/0000:00:10.0/net/eth1"},
    frozenset({"/proc/stat"}),
    taken_s=100.0,
)
SECOND = RecordedHost({"/proc/interrupts": INTERRUPTS.replace("40", "90")}, {}, taken_s=102.5)


def test_what_is_absent_is_none_with_its_reason():
    taken = take(FIRST)

    assert taken.cmdline == ("noapic",)
    assert taken.stat is None
    assert "could not be read" in taken.errors["stat"]
    assert "/proc/net/ip_vs" in taken.errors["services"]


def test_two_samples_have_seconds_between_them_and_one_has_none():
    assert take_all((FIRST, SECOND)).seconds == 2.5
    assert take_all((FIRST,)).seconds is None
