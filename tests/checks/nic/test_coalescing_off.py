import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.nic.coalescing_off import coalescing_off
from dirtune.collect.ethtool import Card
from dirtune.collect.settings_files import SettingsFiles
from tests.checks.samples import interface, interrupts, msi, two

OFF = {"rx_coalesce_usecs": 0, "rx_max_coalesced_frames": 1, "use_adaptive_rx_coalesce": 0}
SET = OFF | {"rx_coalesce_usecs": 50}


def outcome(settings=OFF, *, per_second=30_000, pps=50_000, driver="ixgbe", **fields):
    """A card with two vectors that each take *per_second* interrupts for 10 s."""
    counts = (10 * per_second, 0, 0, 0)
    table = interrupts(msi(24, "eth0-TxRx-0", *counts), msi(25, "eth0-TxRx-1", *counts))
    known = {
        "interfaces": (interface(packets=10**8, driver=driver),),
        "interrupts": table,
        "ethtool": {"eth0": Card(coalesce=settings)},
    }
    return run((coalescing_off,), two(pps=pps, **known | fields))[0]


@pytest.mark.parametrize(
    ("settings", "per_second", "pps", "severity"),
    [
        (OFF, 25_000, 99_000, Severity.MEDIUM),  # 1.98 packets for each
        (OFF, 49_999, 50_000, Severity.MEDIUM),
        (OFF, 50_000, 50_000, Severity.HIGH),
        (OFF, 25_000, 100_000, Severity.LOW),  # 2.00
        (OFF | {"rx_coalesce_usecs": 1, "use_adaptive_rx_coalesce": 0}, 49_999, 50_000, None),
        (SET, 25_000, 99_000, Severity.MEDIUM),
        (SET, 50_000, 50_000, Severity.HIGH),
    ],
)
def test_an_interrupt_for_each_packet(settings, per_second, pps, severity):
    found = outcome(settings, per_second=per_second, pps=pps).findings

    # 1 is an adaptive mode of ixgbe, not a microsecond.
    assert [each.severity for each in found] == ([severity] if severity else [])


def test_what_it_says():
    (found,) = outcome(OFF | {"rx_coalesce_usecs": 1}, driver="mlx5_core").findings

    assert found.subject == "eth0"
    assert "50,000 packets/s, 0.8 packets per interrupt" in found.message
    assert found.evidence == {
        "rx_usecs": 1,
        "rx_frames": 1,
        "rx_packets_per_second": 50_000,
        "packets_per_interrupt": 0.83,
        "busiest_vector_per_second": 30_000,
    }
    assert [fix.commands for fix in found.fixes] == [
        ("ethtool -C eth0 adaptive-rx on",),
        ("ethtool -C eth0 adaptive-rx off rx-usecs 125 tx-usecs 125",),
        (
            "echo 2 > /sys/class/net/eth0/napi_defer_hard_irqs",
            "echo 20000 > /sys/class/net/eth0/gro_flush_timeout",
        ),
    ]


def test_a_microsecond_is_no_coalescing():
    one = OFF | {"rx_coalesce_usecs": 1}

    assert outcome(one, driver="mlx5_core", interrupts=None).status is Status.FINDING
    two_us = OFF | {"rx_coalesce_usecs": 2}
    assert outcome(two_us, interrupts=None).status is Status.INCONCLUSIVE


def test_the_setting_is_enough_without_interrupts():
    (found,) = outcome(interrupts=None).findings

    assert found.severity is Severity.MEDIUM
    assert found.evidence["packets_per_interrupt"] is None


@pytest.mark.parametrize(
    "fields",
    [
        {"pps": 49_999},
        {"driver": "virtio_net"},
        {"settings": SET, "per_second": 25_000, "pps": 100_000},
        {"settings": OFF | {"use_adaptive_rx_coalesce": 1}},
        {"settings": OFF | {"rx_max_coalesced_frames": 32}, "per_second": 1_000},
        {"settings": {"use_adaptive_tx_coalesce": 1}},
        {"settings": OFF | {"rx_coalesce_usecs": 3}, "driver": "e1000e"},
        {"settings": OFF | {"rx_coalesce_usecs": 4}, "driver": "e1000e"},
        {"settings_files": SettingsFiles({}, frozenset(), {}, "network-latency")},
    ],
)
def test_what_is_well(fields):
    assert outcome(**fields).status is Status.PASSED


def test_a_shared_line_tells_nothing_of_the_card():
    line = msi(11, "eth0", 900_000, 0, 0, 0)
    wire = interrupts(line.__class__("11", line.counts, "IO-APIC", 11, "edge", ("eth0", "ahci")))

    assert outcome(SET, interrupts=wire).status is Status.INCONCLUSIVE
    (found,) = outcome(OFF, interrupts=wire).findings
    assert found.evidence["packets_per_interrupt"] is None


def test_what_it_takes():
    assert outcome(None).status is Status.INCONCLUSIVE
    assert outcome(ethtool=None).status is Status.SKIPPED
    assert outcome(pps=10).status is Status.INCONCLUSIVE


def test_a_card_that_came_between_the_samples_is_left_open():
    new = interface("eth1", packets=10**8, driver="ixgbe")
    found = outcome(
        interfaces=(interface(packets=10**8, driver="virtio_net"), new),
        earlier={"interfaces": (interface(packets=0),)},
    )

    assert found.status is Status.INCONCLUSIVE
    assert "eth1" in found.reason
