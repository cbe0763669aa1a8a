import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.nic.channels_low import channels_low
from dirtune.collect.cpuinfo import CpuInfo
from dirtune.collect.cpus import Cpus
from dirtune.collect.ethtool import Card
from tests.checks.samples import cpus, interface, interrupts, msi, stat, two

COMBINED = {"combined_count": 2, "max_combined": 8}


def outcome(channels=COMBINED, *, softirq=700, driver="ixgbe", **fields):
    """Two queues on CPUs 0 and 1 of four; *softirq* of 1,000 ticks on CPU 1."""
    table = interrupts(msi(24, "eth0-0", 9000, 0, 0, 0), msi(25, "eth0-1", 0, 9000, 0, 0))
    port = interface(packets=10**8, driver=driver)
    known = {
        "interfaces": (port,),
        "interrupts": table,
        "ethtool": {"eth0": Card(channels=channels)},
        "cpus": cpus(4),
        "stat": stat({}, {"softirq": softirq}, {}, {}),
    }
    return run((channels_low,), two(**known | fields))[0]


def test_few_queues_and_a_busy_cpu():
    (found,) = outcome().findings

    assert (found.subject, found.severity, found.cause) == ("eth0", Severity.MEDIUM, None)
    assert found.evidence == {
        "channels": 2,
        "useful_channels": 4,
        "hot_percent": {"1": 70.0},
    }
    assert found.fixes[0].commands == ("ethtool -L eth0 combined 4",)
    assert found.fixes[0].risk == "disruptive"


def test_time_in_interrupts_counts_too():
    times = stat({}, {"softirq": 600, "irq": 100}, {}, {})

    assert outcome(stat=times).status is Status.FINDING


def test_queues_of_their_own_for_receiving():
    split = {"combined_count": 0, "max_combined": 0, "rx_count": 2, "max_rx": 3}
    (found,) = outcome(split).findings

    assert found.fixes[0].commands == ("ethtool -L eth0 rx 3",)


def test_one_queue_is_the_cause():
    (found,) = outcome({"combined_count": 1, "max_combined": 8}).findings

    assert found.cause == "nic/single-queue"


@pytest.mark.parametrize(
    ("model", "driver", "wanted"),
    [("Intel", "ixgbe", 40), ("AMD EPYC", "ixgbe", 32), ("Intel", "mlx5_core", 32)],
)
def test_vendors_that_advise_32(model, driver, wanted):
    many = cpus(40)
    (found,) = outcome(
        {"combined_count": 2, "max_combined": 64},
        driver=driver,
        cpuinfo=CpuInfo(model, frozenset()),
        cpus=many,
    ).findings

    assert found.evidence["useful_channels"] == wanted


@pytest.mark.parametrize(
    "fields",
    [
        {"softirq": 699},
        {"channels": {"combined_count": 4, "max_combined": 8}},
        {"channels": {"combined_count": 2, "max_combined": 2}},
        {"channels": None},
        {"cpus": Cpus((0, 1, 2, 3), siblings={0: (0, 1), 1: (0, 1), 2: (2, 3), 3: (2, 3)})},
        {"cpus": Cpus((0, 1, 2, 3), isolated=(2, 3))},
        {"stat": stat({}, {}, {"softirq": 900}, {})},  # on a CPU that takes no interrupts
        {"stat": stat({}, {"user": 900}, {}, {})},
        {"interfaces": (interface(packets=10**8), interface("eth1", operstate="down"))}
        | {"ethtool": {"eth1": Card(channels=COMBINED)}},
    ],
)
def test_what_is_well(fields):
    assert outcome(**fields).status is Status.PASSED


def test_what_it_takes():
    assert outcome(interrupts=None).status is Status.INCONCLUSIVE
    assert outcome(stat=None).status is Status.SKIPPED
    assert outcome(ethtool=None).status is Status.SKIPPED
    assert outcome(earlier={"stat": stat({}, {})}).status is Status.INCONCLUSIVE
