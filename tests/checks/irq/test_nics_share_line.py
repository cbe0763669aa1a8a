import dataclasses

from dirtune.checks import Severity, Status, run
from dirtune.checks.irq.nics_share_line import nics_share_line
from dirtune.collect.pci import PciDevice
from tests.checks.machines import CARD, SHARED, at_rate, host


def outcome(check, snapshot):
    return run((check,), snapshot)[0]


def severity(check, snapshot):
    (finding,) = outcome(check, snapshot).findings
    return finding.severity


class TestNicsShareLine:
    OTHER = PciDevice("0000:00:11.0", 0x020000, "e1000", 10, nets=("enp0s17",))

    def two(self):
        return host("IO-APIC  20-fasteoi   enp0s16, enp0s17", pci=(CARD, self.OTHER))

    def test_two_busy_cards(self):
        assert severity(nics_share_line, at_rate(self.two(), 100, packets=500)) is Severity.HIGH

    def test_one_busy_card_is_medium(self):
        busy = at_rate(self.two(), 100, packets=1000)
        idle = dataclasses.replace(busy.earlier.interfaces[1], rx_packets=10**6)
        earlier = dataclasses.replace(busy.earlier, interfaces=(busy.earlier.interfaces[0], idle))

        found = dataclasses.replace(busy, earlier=earlier)
        assert severity(nics_share_line, found) is Severity.MEDIUM

    def test_idle_or_one_sample_is_undecided(self):
        idle = at_rate(self.two(), 1, packets=499)

        assert outcome(nics_share_line, idle).status is Status.INCONCLUSIVE
        assert outcome(nics_share_line, self.two()).status is Status.INCONCLUSIVE

    def test_a_card_and_a_disk_are_not_two_cards(self):
        assert outcome(nics_share_line, host(SHARED)).status is Status.PASSED
