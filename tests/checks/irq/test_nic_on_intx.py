import dataclasses

import pytest

from dirtune.checks import Risk, Severity, Status, run
from dirtune.checks.irq.nic_on_intx import nic_on_intx
from dirtune.collect.cpuinfo import CpuInfo
from dirtune.collect.log_messages import LogLine
from dirtune.collect.modules import Modules
from dirtune.collect.pci import PciDevice
from dirtune.snapshot import Snapshot
from tests.checks.machines import line

CARD = PciDevice("0000:03:00.0", 0x020000, "bnx2", 17, pcie=True, nets=("eth0",))


def of_driver(driver, **fields):
    return dataclasses.replace(CARD, driver=driver, **fields)


def outcome(*devices, **fields):
    return run((nic_on_intx,), Snapshot(pci=devices, **fields))[0]


def test_a_pcie_card_on_a_wire():
    table = line("IO-APIC  17-fasteoi   eth0", irq=17)
    (found,) = outcome(CARD, interrupts=table).findings

    assert (found.subject, found.severity) == ("eth0", Severity.HIGH)
    assert found.evidence["irq"] == "17"
    assert found.evidence["chip"] == "IO-APIC"
    assert [(fix.id, fix.commands) for fix in found.fixes] == [("find-msi-obstacle", ())]


@pytest.mark.parametrize(
    ("driver", "parameters", "options", "row"),
    [
        ("bnx2", {"bnx2.disable_msi": "1"}, "bnx2 disable_msi=0", "disable_msi=1"),
        ("bnx2x", {"bnx2x.int_mode": "1"}, "bnx2x int_mode=0", "int_mode=1"),
        ("sky2", {"sky2.disable_msi": "Y"}, "sky2 disable_msi=0", "disable_msi=1"),
        ("mlx4_core", {"mlx4_core.msi_x": "0"}, "mlx4_core msi_x=1", "msi_x=0"),
        (
            "qlcnic",
            {"qlcnic.use_msi": "0", "qlcnic.use_msi_x": "0"},
            "qlcnic use_msi=1 use_msi_x=1",
            "use_msi=0 use_msi_x=0",
        ),
    ],
)
def test_the_drivers_option_is_named_and_dropped(driver, parameters, options, row):
    (found,) = outcome(of_driver(driver), modules=Modules(frozenset(), parameters)).findings

    (fix,) = found.fixes
    assert row in found.message
    assert (fix.id, fix.risk) == ("drop-driver-option", Risk.DISRUPTIVE)
    assert fix.commands == (
        f"modprobe -r {driver} && modprobe {options}",
        f"echo 'options {options}' >> /etc/modprobe.d/dirtune.conf",
    )


@pytest.mark.parametrize(
    ("driver", "parameters"),
    [
        ("bnx2", {"bnx2.disable_msi": "0"}),
        ("qlcnic", {"qlcnic.use_msi": "0", "qlcnic.use_msi_x": "1"}),
    ],
)
def test_an_option_that_still_lets_msi_is_not_the_reason(driver, parameters):
    (found,) = outcome(of_driver(driver), modules=Modules(frozenset(), parameters)).findings

    assert found.fixes[0].id == "find-msi-obstacle"


def test_an_option_on_the_command_line_takes_a_reboot():
    (found,) = outcome(of_driver("e1000e"), cmdline=("e1000e.IntMode=0,0",)).findings

    assert [(f.id, f.risk, f.commands) for f in found.fixes] == [
        ("drop-driver-option", Risk.REBOOT, ())
    ]


def test_nomsi_is_the_cause_of_it():
    (found,) = outcome(CARD, cmdline=("pci=nomsi",)).findings

    assert found.cause == "irq/msi-off"
    assert [fix.id for fix in found.fixes] == ["drop-nomsi"]


def test_a_bridge_above_it_forbids_msi():
    card = dataclasses.replace(CARD, bridges=("0000:00:1c.0",))
    bridge = PciDevice("0000:00:1c.0", 0x060400, "pcieport", 16, (24,), msi_allowed=False)
    (found,) = outcome(card, bridge).findings

    assert found.fixes[0].id == "allow-msi"
    assert found.fixes[0].risk is Risk.DISRUPTIVE
    assert found.fixes[0].commands == (
        "echo 1 > /sys/bus/pci/devices/0000:00:1c.0/msi_bus",
        "echo 0000:03:00.0 > /sys/bus/pci/drivers/bnx2/unbind",
        "echo 0000:03:00.0 > /sys/bus/pci/drivers/bnx2/bind",
    )


def test_the_kernels_log_tells_why():
    row = LogLine(3.1, "bnx2 0000:03:00.0 eth0: Failed to allocate MSI-X vectors, using INTx")
    other = LogLine(3.0, "igb 0000:04:00.0: Failed to initialize MSI-X")
    (found,) = outcome(CARD, kernel_log=(other, row)).findings

    assert row.text in found.message
    assert other.text not in found.message


def test_an_emulated_card_has_one_more_remedy():
    guest = CpuInfo("QEMU", frozenset({"hypervisor"}))
    (found,) = outcome(of_driver("e1000e"), cpuinfo=guest).findings

    assert found.fixes[-1].id == "use-paravirtual-card"
    assert "use-paravirtual-card" not in [f.id for f in outcome(CARD).findings[0].fixes]


def test_a_card_inside_the_chip_set_shows_no_link_and_has_msi():
    assert outcome(of_driver("e1000e", pcie=False)).status is Status.FINDING


@pytest.mark.parametrize(
    "device",
    [
        of_driver("bnx2", msi_irqs=(26,)),
        of_driver("e1000", pcie=False),
        of_driver("8139too", pcie=False),
        of_driver("vfio-pci"),
        of_driver(None),
        dataclasses.replace(CARD, irq=None),
        PciDevice("0000:00:14.0", 0x010000, "sym53c8xx", 10, pcie=True),
    ],
    ids=["msi", "82540EM", "rtl8139", "vfio", "unbound", "no interrupt", "storage"],
)
def test_it_stays_quiet(device):
    assert outcome(device).status is Status.PASSED


def test_a_conventional_card_that_may_have_msi_leaves_it_open():
    found = outcome(of_driver("tg3", pcie=False))

    assert found.status is Status.INCONCLUSIVE
    assert "eth0" in found.reason


def test_without_pci_it_is_skipped():
    assert run((nic_on_intx,), Snapshot())[0].status is Status.SKIPPED
