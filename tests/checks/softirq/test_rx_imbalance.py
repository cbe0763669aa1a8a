import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.softirq.rx_imbalance import rx_imbalance
from dirtune.collect.pci import PciDevice
from tests.checks.samples import cpus, interrupts, msi, softnet, stat, two

HOT = stat({"softirq": 800}, {"softirq": 100}, {}, {})


def outcome(*packets, **fields):
    rows = softnet(*((n,) for n in packets))
    fields = {"cpus": cpus(len(packets)), "stat": HOT} | fields
    return run((rx_imbalance,), two(softnet=rows, **fields))[0]


def test_one_cpu_does_nearly_all():
    (found,) = outcome(850, 50, 50, 50).findings

    assert (found.subject, found.severity) == ("CPU 0", Severity.HIGH)
    assert found.evidence["packets"] == {"0": 850, "1": 50, "2": 50, "3": 50}
    # Four CPUs: 2 * (1*50 + 2*50 + 3*50 + 4*850) / (4 * 1000) - 5 / 4.
    assert found.evidence["gini"] == 0.6
    assert found.evidence["packets"] == {"0": 850, "1": 50, "2": 50, "3": 50}
    assert [fix.commands for fix in found.fixes] == [()]
    assert found.cause is None


def test_it_is_medium_while_the_cpu_has_room():
    stats = stat({"softirq": 799}, {}, {}, {})

    assert outcome(850, 50, 50, 50, stat=stats).severity is Severity.MEDIUM


def test_three_times_the_mean_is_enough():
    # Gini: 2 * (83*1 + 83*2 + 84*3 + 750*4) / 4000 - 1.25 = 0.5005; the mean is 250.
    assert outcome(750, 83, 83, 84).status is Status.FINDING


@pytest.mark.parametrize(("top", "severity"), [(350, Severity.HIGH), (349, Severity.MEDIUM)])
def test_it_is_high_with_half_of_the_packets(top, severity):
    assert outcome(top, *[50] * 7, stat=stat({"softirq": 800}, *[{}] * 7)).severity is severity


def test_a_fifth_of_a_cpus_time_is_not_idle():
    found = outcome(850, 50, 50, 50, stat=stat({"softirq": 200}, {}, {}, {}))

    assert found.severity is Severity.MEDIUM


@pytest.mark.parametrize(
    ("packets", "fields"),
    [
        ((250, 250, 250, 250), {}),
        ((749, 83, 84, 84), {}),
        ((850, 50, 50, 50), {"stat": stat({"softirq": 199}, {}, {}, {})}),
        ((850, 50, 50, 50), {"cpus": cpus(4, isolated=(2, 3))}),
        ((0, 0, 0, 0), {}),
    ],
    ids=["even", "under three times", "idle", "two CPUs are left", "nothing"],
)
def test_it_stays_quiet(packets, fields):
    assert outcome(*packets, **fields).status is Status.PASSED


def test_only_cpus_near_the_card_count():
    card = PciDevice("0000:03:00.0", 0x020000, "ice", 0, nets=("eth0",), local_cpus=(0, 1))

    assert outcome(500, 500, 0, 0, 0, 0, 0, 0, stat=stat(*[{"softirq": 500}] * 8)).findings
    near = outcome(500, 500, 0, 0, 0, 0, 0, 0, stat=stat(*[{"softirq": 500}] * 8), pci=(card,))
    assert near.status is Status.PASSED


def test_vectors_on_one_cpu_are_its_cause():
    table = interrupts(msi(40, "eth0-rx-0", 900, 0, 0, 0), msi(41, "eth0-rx-1", 900, 0, 0, 0))
    (found,) = outcome(850, 50, 50, 50, interrupts=table).findings

    assert found.cause == "irq/single-cpu"


def test_unknown_leaves_it_open():
    assert outcome(850, 50, 50, 50, earlier={"stat": None}).status is Status.INCONCLUSIVE
    assert outcome(850, 50, 50, 50, pps=10).status is Status.INCONCLUSIVE
