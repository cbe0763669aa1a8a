"""One sample is worth something: its totals since boot give findings that say so."""

import dataclasses

import pytest

from dirtune.checks import Cause, Severity, Status, run
from dirtune.checks.irq.single_cpu import single_cpu
from dirtune.checks.nic.rx_ring_overflow import rx_ring_overflow
from dirtune.checks.softirq.rx_imbalance import rx_imbalance
from dirtune.checks.softirq.time_squeeze import time_squeeze
from dirtune.collect.ethtool import Card
from dirtune.snapshot import Snapshot
from tests.checks.samples import cpus, interface, interrupts, msi, net_rx, softnet, two

SINGLE = interrupts(msi(40, "eth0", 97_500_000, 2_500_000, 0, 0))
QUEUES = interrupts(msi(40, "eth0-rx-0", 600_000, 0, 0, 0), msi(41, "eth0-rx-1", 400_000, 9, 0, 0))


def only(check, snapshot):
    outcome = run((check,), snapshot)[0]
    assert outcome.status is Status.FINDING, outcome
    (finding,) = outcome.findings
    return finding


@pytest.mark.parametrize("known", [{"cpus": cpus(4)}, {}], ids=["sysfs", "interrupts alone"])
def test_one_cpu_took_the_interrupts_of_a_nic(known):
    finding = only(single_cpu, Snapshot(interrupts=SINGLE, interfaces=(interface(),), **known))

    assert (finding.subject, finding.severity) == ("eth0", Severity.INFO)
    assert finding.message.startswith("Since boot, CPU 0 took 97 % of eth0's interrupts:")


def test_several_queues_on_one_cpu_are_worse():
    finding = only(single_cpu, Snapshot(interrupts=QUEUES, interfaces=(interface(),)))

    assert finding.severity is Severity.LOW
    assert "the interrupts of eth0's 2 vectors: 1,000,000 of 1,000,009" in finding.message


@pytest.mark.parametrize(
    "table",
    [
        interrupts(msi(40, "eth0", 999_999, 0, 0, 0)),
        interrupts(msi(40, "eth0", 949_999, 50_001, 0, 0)),
        interrupts(msi(40, "eth0", 2_000_000), n=1),
        interrupts(msi(40, "nvme0q1", 2_000_000, 0, 0, 0)),
    ],
    ids=["few", "spread", "one CPU", "no NIC"],
)
def test_other_totals_say_nothing(table):
    outcome = run((single_cpu,), Snapshot(interrupts=table, interfaces=(interface(),)))[0]

    assert not outcome.findings
    assert outcome.status is not Status.PASSED


def test_two_samples_count_and_not_the_totals():
    snapshot = two(interrupts=SINGLE, cpus=cpus(4), pps=10)

    assert run((single_cpu,), snapshot)[0].cause is Cause.IDLE


def test_one_cpu_processed_the_packets():
    rows = softnet((9_000_000,), (400_000,), (300_000,), (300_000,))
    finding = only(rx_imbalance, Snapshot(softnet=rows))

    assert finding.severity is Severity.LOW
    assert finding.message == (
        "Since boot, CPU 0 processed 90 % of the 10,000,000 packets that 4 CPUs received"
    )


def test_even_packets_and_few_packets_say_nothing():
    for row in (3_000_000,) * 4, (9_000_000, 1, 1, 1):
        rows = softnet(*((n,) for n in row))
        assert run((rx_imbalance,), Snapshot(softnet=rows))[0].status is Status.SKIPPED


def test_net_rx_was_squeezed():
    snapshot = Snapshot(softnet=softnet((9, 0, 10_000), (9, 0, 9_999)), softirqs=net_rx(10**6, 1))
    finding = only(time_squeeze, snapshot)

    assert (finding.subject, finding.severity) == ("CPU 0", Severity.INFO)
    assert "ended 10,000 times with packets left in its queues, 1 % of its runs" in finding.message


@pytest.mark.parametrize(("lost", "severity"), [(1_000, Severity.INFO), (1_002, Severity.LOW)])
def test_a_ring_was_full(lost, severity):
    port = interface(packets=10**6, driver="mlx5_core")
    card = Card(statistics={"rx_out_of_buffer": lost})
    snapshot = Snapshot(interfaces=(port,), ethtool={"eth0": card})
    finding = only(rx_ring_overflow, snapshot)

    assert finding.severity is severity
    assert finding.message.startswith(f"Since boot, eth0 lost {lost:,} packets because its ring")


def test_nothing_lost_needs_two_samples():
    port = interface(statistics={"rx_missed_errors": 0})

    assert run((rx_ring_overflow,), Snapshot(interfaces=(port,)))[0].cause is Cause.ONE_SAMPLE


def test_an_error_in_the_totals_is_an_error():
    broken = dataclasses.replace(single_cpu, since_boot=lambda _: iter([1 // 0]))

    assert run((broken,), Snapshot(interrupts=SINGLE))[0].status is Status.ERROR
