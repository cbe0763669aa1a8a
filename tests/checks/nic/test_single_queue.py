import dataclasses

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.nic.single_queue import single_queue
from dirtune.collect.cpuinfo import CpuInfo
from dirtune.collect.cpus import Cpus
from dirtune.collect.ethtool import Card
from dirtune.collect.net import Queue
from dirtune.collect.pci import PciDevice
from tests.checks.samples import cpus, interface, interrupts, msi, stat, two


def taken(*, pps=50_000, softirq=0, **fields):
    return two(
        pps=pps,
        **{
            "interfaces": (interface(packets=10**8),),
            "cpus": cpus(4),
            "interrupts": interrupts(msi(24, "eth0", 0, 9000, 0, 0)),
            "stat": stat({}, {"softirq": softirq}, {}, {}),
        }
        | fields,
    )


def outcome(**fields):
    return run((single_queue,), taken(**fields))[0]


@pytest.mark.parametrize(
    ("pps", "softirq", "severity"),
    [
        (19_999, 499, Severity.INFO),
        (19_999, 500, Severity.HIGH),
        (20_000, 499, Severity.MEDIUM),
        (20_000, 500, Severity.HIGH),
        (199_999, 0, Severity.MEDIUM),
        (200_000, 0, Severity.HIGH),
    ],
)
def test_one_queue(pps, softirq, severity):
    (found,) = outcome(pps=pps, softirq=softirq).findings

    assert (found.subject, found.severity) == ("eth0", severity)
    assert found.evidence["rx_packets_per_second"] == pps
    assert found.evidence["serving_cpus"] == [1]
    # CPUs 0, 2 and 3: binary 1101.
    assert found.fixes[0].commands == ("echo d > /sys/class/net/eth0/queues/rx-0/rps_cpus",)


def test_time_and_interrupts_may_be_unknown():
    (found,) = outcome(stat=None, interrupts=None).findings

    assert found.severity is Severity.MEDIUM
    assert found.evidence["softirq_percent"] is None
    assert found.fixes[0].commands == ("echo f > /sys/class/net/eth0/queues/rx-0/rps_cpus",)


def test_the_cards_own_queues_come_first():
    channels = {"combined_count": 1, "max_combined": 8}
    (found,) = outcome(ethtool={"eth0": Card(channels=channels)}).findings

    assert found.fixes[0].commands == ("ethtool -L eth0 combined 4",)
    assert found.fixes[0].risk == "disruptive"


def test_an_emulated_card_is_better_replaced():
    port = interface(packets=10**8, driver="e1000")
    guest = CpuInfo(None, frozenset({"hypervisor"}))
    (found,) = outcome(interfaces=(port,), cpuinfo=guest).findings

    assert [fix.id for fix in found.fixes] == ["enable-rps", "use-paravirtual-card"]


@pytest.mark.parametrize(
    "fields",
    [
        {"interfaces": (interface(packets=10**8, rps=(2, 3)),)},
        {"cpus": cpus(1)},
        {"cpus": Cpus((0, 1), isolated=(1,))},
        {"interfaces": (interface(packets=10**8, rx_queues=(Queue("rx-0", ()),) * 2),)},
        {"ethtool": {"eth0": Card(channels={"combined_count": 4})}},
        {"interfaces": (interface(packets=10**8, operstate="down"), interface("eth1", rps=(2,)))},
    ],
)
def test_what_is_well(fields):
    assert outcome(**fields).status is Status.PASSED


@pytest.mark.parametrize("name", ["bond0", "br0", "eth0.100", "dummy0"])
def test_what_is_above_a_port_is_left(name):
    above = interface(name, packets=10**8, physical=False)
    port = interface(packets=10**8, rps=(0, 1))

    assert outcome(interfaces=(port, above)).status is Status.PASSED


def test_one_cpu_near_the_card_is_not_several():
    device = PciDevice("0000:01:00.0", 0x020000, "igb", nets=("eth0",), local_cpus=(0, 1))

    assert outcome(pci=(device,), cpus=Cpus((0, 2, 3))).status is Status.PASSED


@pytest.mark.parametrize(
    "port", [interface(packets=10**8, rps=None), interface(packets=10**8, rx_queues=())]
)
def test_an_unknown_mask_leaves_it_open(port):
    assert outcome(interfaces=(port,)).status is Status.INCONCLUSIVE


def test_what_it_takes():
    assert outcome(pps=999).status is Status.INCONCLUSIVE
    assert outcome(cpus=None).status is Status.SKIPPED
    alone = dataclasses.replace(taken(), earlier=None)
    assert run((single_queue,), alone)[0].status is Status.INCONCLUSIVE
