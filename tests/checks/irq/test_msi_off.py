import dataclasses

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.irq.msi_off import msi_off
from dirtune.collect.pci import PciDevice
from tests.checks.machines import SHARED, host


def outcome(check, snapshot):
    return run((check,), snapshot)[0]


class TestMsiOff:
    ABLE = PciDevice("0000:00:02.0", 0x060400, "pcieport", 11, pcie=True)

    def test_the_option_on_a_host_that_could(self):
        (found,) = outcome(
            msi_off, host(SHARED, pci=(self.ABLE,), cmdline=("pci=noaer,nomsi",))
        ).findings

        assert found.severity is Severity.HIGH
        assert [fix.id for fix in found.fixes] == ["drop-nomsi"]

    def test_no_vector_at_all_without_the_option(self):
        (found,) = outcome(msi_off, host(SHARED, pci=(self.ABLE,))).findings

        assert found.fixes == ()

    @pytest.mark.parametrize(
        "snapshot",
        [
            host(SHARED, cmdline=("pci=nomsi",)),
            host(SHARED, pci=(dataclasses.replace(ABLE, msi_irqs=(24,)),)),
            host(
                SHARED,
                pci=(dataclasses.replace(ABLE, msi_irqs=(24,)),),
                cmdline=("pcie_pme=nomsi",),
            ),
        ],
        ids=["nothing could", "in use", "port services only"],
    )
    def test_it_stays_quiet(self, snapshot):
        assert outcome(msi_off, snapshot).status is Status.PASSED

    def test_xen_guests_have_event_channels(self):
        xen = host("xen-pirq    -ioapic-level  eth0", pci=(self.ABLE,), cmdline=("pci=nomsi",))

        assert outcome(msi_off, xen).status is Status.NOT_APPLICABLE

    def test_without_the_list_of_devices_it_is_undecided(self):
        found = outcome(msi_off, host(SHARED, pci=None, cmdline=("pci=nomsi",)))

        assert found.status is Status.INCONCLUSIVE
