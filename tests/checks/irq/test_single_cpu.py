import dataclasses

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.irq.single_cpu import single_cpu
from dirtune.settings import BootOption
from tests.checks.samples import (
    cpus,
    interface,
    interrupts,
    msi,
    placed,
    process,
    softnet,
    stat,
    two,
)

ALL_ON_1 = interrupts(
    msi(40, "eth0-rx-0", 0, 50_000, 0, 0),
    msi(41, "eth0-rx-1", 0, 40_000, 0, 0),
    msi(42, "eth0-tx-0", 9_000, 0, 0, 0),
)
BUSY = stat({}, {"softirq": 240, "irq": 10}, {}, {})


def outcome(**fields):
    known = {"interrupts": ALL_ON_1, "cpus": cpus(4), "stat": BUSY, "processes": ()}
    return run((single_cpu,), two(**(known | fields)))[0]


def test_all_queues_on_one_cpu():
    (found,) = outcome().findings

    assert (found.subject, found.severity) == ("CPU 1", Severity.HIGH)
    assert found.evidence["irq_softirq_percent"] == 25.0
    assert found.evidence["irqs"] == ["40", "41"]
    assert found.evidence["interrupts_per_second"] == 9000.0
    assert [fix.id for fix in found.fixes] == ["spread-vectors", "start-irqbalance"]
    assert found.fixes[0].commands == (
        "echo 0 > /proc/irq/40/smp_affinity_list",
        "echo 1 > /proc/irq/41/smp_affinity_list",
    )


def test_95_per_cent_are_all():
    def at(there):
        rows = msi(40, "eth0-rx-0", 0, 5000, 0, 0), msi(41, "eth0-rx-1", 5000 - there, there, 0, 0)
        return outcome(interrupts=interrupts(*rows)).status

    assert at(4500) is Status.FINDING
    assert at(4499) is Status.PASSED


def test_two_cards_of_one_vector_each():
    table = interrupts(msi(40, "eth0", 500, 0, 0, 0), msi(41, "eth1", 500, 0, 0, 0))
    (found,) = outcome(interrupts=table, stat=stat({"softirq": 400}, {}, {}, {})).findings

    assert found.severity is Severity.MEDIUM
    assert found.evidence["irqs"] == ["40", "41"]


def test_siblings_of_a_core_come_last_and_irqbalance_is_named():
    threads = {0: (0, 1), 1: (0, 1), 2: (2, 3), 3: (2, 3)}
    running = (process(700, "irqbalance"),)
    (found,) = outcome(cpus=cpus(4, siblings=threads), processes=running).findings

    (fix,) = found.fixes
    assert fix.commands[1] == "echo 2 > /proc/irq/41/smp_affinity_list"
    assert fix.competes == ("irqbalance",)


def test_managed_vectors_are_not_moved():
    states = {"40": placed([1], managed=True), "41": placed([1], managed=True)}
    (found,) = outcome(proc_irq=states).findings

    assert [fix.commands for fix in found.fixes if fix.id == "change-queues"] == [()]
    assert "spread-vectors" not in [fix.id for fix in found.fixes]


def test_the_boot_option_is_named():
    (found,) = outcome(cmdline=("irqaffinity=1",)).findings

    assert found.fixes[-1].id == "drop-irqaffinity"
    assert found.fixes[-1].settings == (BootOption("irqaffinity=1"),)


@pytest.mark.parametrize(
    "fields",
    [
        {"stat": stat({}, {"softirq": 239, "irq": 10}, {}, {})},
        {"interrupts": interrupts(
            msi(40, "eth0-rx-0", 0, 94, 0, 0), msi(41, "eth0-rx-1", 6, 0, 0, 0))},
        {"interrupts": interrupts(
            msi(40, "eth0-rx-0", 0, 50_000, 0, 0), msi(41, "eth0-rx-1", 50_000, 0, 0, 0))},
        {"interrupts": interrupts(
            msi(40, "eth0-rx-0", 0, 95_000, 0, 0), msi(41, "eth0-rx-1", 0, 5_000, 0, 0))},
        {"interrupts": interrupts(
            msi(40, "eth0-rx-0", 0, 9_000, 0, 0), msi(41, "eth0-tx-0", 0, 9_000, 0, 0))},
        {"interfaces": (interface(rps=(2, 3)),),
         "softnet": softnet((0,), (500,), (300,), (300,))},
    ],
    ids=["not busy", "idle vectors", "spread", "one queue has the traffic", "one queue", "rps"],
)  # fmt: skip
def test_it_stays_quiet(fields):
    assert outcome(**fields).status is Status.PASSED


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"cpus": cpus(4, isolated=(1, 2, 3))}, Status.NOT_APPLICABLE),
        ({"cpus": cpus(3)}, Status.NOT_APPLICABLE),
        ({"stat": None}, Status.INCONCLUSIVE),
        ({"interfaces": (interface(rps=(2, 3)),)}, Status.INCONCLUSIVE),
        ({"interfaces": (interface(rps=None),)}, Status.INCONCLUSIVE),
        ({"pps": 900}, Status.INCONCLUSIVE),
        ({"interrupts": None}, Status.SKIPPED),
        ({"cpus": None}, Status.SKIPPED),
    ],
    ids=[
        "housekeeping",
        "few cpus",
        "no stat",
        "no softnet",
        "no rps",
        "idle",
        "no table",
        "cpus",
    ],
)
def test_it_says_nothing(fields, status):
    assert outcome(**fields).status is status


def test_rps_that_sends_all_to_one_cpu_spreads_nothing():
    rows = softnet((0,), (800,), (199,), (1,))
    found = outcome(interfaces=(interface(rps=(2,)),), softnet=rows)

    assert found.status is Status.FINDING


def test_one_sample_says_nothing():
    alone = dataclasses.replace(two(interrupts=ALL_ON_1, cpus=cpus(4)), earlier=None)

    assert run((single_cpu,), alone)[0].status is Status.INCONCLUSIVE
