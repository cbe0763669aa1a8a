import dataclasses

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.nic.rps_misuse import rps_misuse
from dirtune.collect.cpuinfo import CpuInfo
from dirtune.collect.cpus import Cpus
from dirtune.collect.net import Queue
from dirtune.collect.pci import PciDevice
from dirtune.snapshot import Snapshot
from tests.checks.machines import service
from tests.checks.samples import cpus, interface, sysctls

CARD = PciDevice("0000:01:00.0", 0x020000, "igb", nets=("eth0",), local_cpus=(0, 1), numa_node=0)
QUEUES = "/sys/class/net/eth0/queues"


def port(*masks, flows=0, name="eth0", **fields):
    queues = tuple(Queue(f"rx-{n}", mask, flows) for n, mask in enumerate(masks))
    return interface(name, rx_queues=queues, **fields)


def outcome(*ports, **fields):
    return run((rps_misuse,), Snapshot(**{"interfaces": ports, "cpus": cpus(4)} | fields))[0]


def test_queues_for_each_core():
    (found,) = outcome(port((0, 1), (), (2,), ())).findings

    assert (found.subject, found.severity) == ("eth0", Severity.LOW)
    assert "4 queues for 4 cores" in found.message
    assert found.evidence["rps_cpus"] == {"rx-0": [0, 1], "rx-2": [2]}
    assert found.fixes[0].commands == (
        f"echo 0 > {QUEUES}/rx-0/rps_cpus",
        f"echo 0 > {QUEUES}/rx-2/rps_cpus",
    )


def test_siblings_are_one_core():
    pairs = Cpus((0, 1, 2, 3), siblings={0: (0, 1), 1: (0, 1), 2: (2, 3), 3: (2, 3)})

    (found,) = outcome(port((0,), (1,)), cpus=pairs).findings

    assert "2 queues for 2 cores" in found.message


def test_cpus_that_are_offline():
    (found,) = outcome(port((0, 1, 4, 5))).findings

    assert found.message == "CPUs 4 and 5 in the RPS masks of eth0 are offline"
    assert found.fixes[0].commands == (f"echo 3 > {QUEUES}/rx-0/rps_cpus",)


def test_cpus_of_another_node():
    (found,) = outcome(port((1, 2, 3)), pci=(CARD,)).findings

    assert found.message == "CPUs 2 and 3 in the RPS masks of eth0 are on another NUMA node"
    assert found.fixes[0].commands == (f"echo 2 > {QUEUES}/rx-0/rps_cpus",)


def test_each_queue_keeps_what_is_right_of_its_mask():
    (found,) = outcome(port((0, 4), (2,), ())).findings

    assert found.fixes[0].commands == (f"echo 1 > {QUEUES}/rx-0/rps_cpus",)


def test_a_mask_without_one_right_cpu():
    (found,) = outcome(port((2, 3)), pci=(CARD,)).findings

    assert found.fixes[0].commands == (f"echo 3 > {QUEUES}/rx-0/rps_cpus",)


def director(forward="Route", sockets=4096):
    limits = sysctls(rps_sock_flow_entries=sockets)
    return {"services": (service(1, forward=forward),), "sysctls": limits}


def test_rfs_on_a_director():
    (found,) = outcome(port((), flows=1024), **director()).findings

    assert found.evidence["rps_flow_cnt"] == {"rx-0": 1024}
    assert found.fixes[0].commands == (f"echo 0 > {QUEUES}/rx-0/rps_flow_cnt",)


def test_two_faults_of_one_card():
    (found,) = outcome(port((0, 4), flows=8), **director()).findings

    assert len(found.fixes[0].commands) == 2


@pytest.mark.parametrize(
    ("ports", "fields"),
    [
        ((port((), (), (), ()),), {}),
        ((port((0, 1, 2, 3), (0, 1, 2, 3), ()),), {}),
        ((port((0, 1)),), {"pci": (CARD,)}),
        ((port((2, 3)),), {"pci": (CARD,), "cpuinfo": CpuInfo(None, frozenset({"hypervisor"}))}),
        ((port((2, 3)),), {"pci": (PciDevice("0000:01:00.0", 0x020000, nets=("eth0",)),)}),
        ((port((2, 3)),), {"pci": (dataclasses.replace(CARD, numa_node=None),)}),
        ((port((2, 3)),), {"pci": (dataclasses.replace(CARD, local_cpus=()),)}),
        ((port((), flows=8),), {}),
        ((port((), flows=8),), director(sockets=0)),
        ((port((), flows=8),), director(forward="Local")),
        ((port((), flows=0),), director()),
        ((port((4,), operstate="down"),), {}),
        ((port((4,), name="br0", physical=False),), {}),
    ],
)
def test_what_is_well(ports, fields):
    assert outcome(*ports, **fields).status is Status.PASSED


def test_what_it_takes():
    assert outcome(port(None)).status is Status.INCONCLUSIVE
    assert outcome(port()).status is Status.INCONCLUSIVE
    nothing = director() | {"sysctls": None}
    assert outcome(port((), flows=8), **nothing).status is Status.INCONCLUSIVE
    assert outcome(port(()), cpus=None).status is Status.SKIPPED
