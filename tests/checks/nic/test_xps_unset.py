import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.nic.xps_unset import xps_unset
from dirtune.collect.cpuinfo import CpuInfo
from dirtune.collect.net import Queue
from tests.checks.samples import cpus, interface, interrupts, msi, placed, stat, two

BUSY = {"softirq": 300}
GUEST = CpuInfo(None, frozenset({"hypervisor"}))
AT = "/sys/class/net/eth0/queues"


def port(*masks, **fields):
    each = tuple(Queue(f"tx-{n}", mask) for n, mask in enumerate(masks))
    return interface(packets=10**8, tx_queues=each, **fields)


def outcome(*masks, driver="ixgbe", times=(BUSY, BUSY, {}, {}), **fields):
    known = {
        "interfaces": (port(*masks, driver=driver),),
        "cpus": cpus(4),
        "stat": stat(*times),
    }
    return run((xps_unset,), two(**known | fields))[0]


def test_busy_cpus_meet_in_one_queue():
    (found,) = outcome((0, 1), (2, 3)).findings

    assert (found.subject, found.severity) == ("eth0", Severity.LOW)
    assert found.evidence["busy_cpus"] == {"tx-0": [0, 1]}
    # CPUs 0 and 2, then 1 and 3.
    assert found.fixes[0].commands == (
        f"echo 5 > {AT}/tx-0/xps_cpus",
        f"echo a > {AT}/tx-1/xps_cpus",
    )


def test_more_busy_cpus_than_queues():
    (found,) = outcome((0, 1, 2), (3,), times=(BUSY, BUSY, BUSY, {})).findings

    assert found.evidence["busy_cpus"] == {"tx-0": [0, 1, 2]}


def test_a_queue_goes_to_the_cpu_that_receives():
    table = interrupts(msi(24, "eth0-rx-0", 0, 0, 0, 9), msi(25, "eth0-rx-1", 9, 0, 0, 0))
    states = {"24": placed((3,)), "25": placed((0,))}
    (found,) = outcome((0, 1), (2, 3), interrupts=table, proc_irq=states).findings

    # CPUs 3 and 1, then 0 and 2.
    assert found.fixes[0].commands == (
        f"echo a > {AT}/tx-0/xps_cpus",
        f"echo 5 > {AT}/tx-1/xps_cpus",
    )


@pytest.mark.parametrize(
    ("masks", "fields"),
    [
        (((0, 2), (1, 3)), {}),
        (((0, 1), (2, 3)), {"times": (BUSY, {"softirq": 299}, {}, {})}),
        (((0, 1), (2, 3)), {"times": (BUSY, BUSY, BUSY, {})}),
        (((0, 1), (2, 3)), {"times": (BUSY, {"user": 900}, {}, {})}),
        (((0, 1, 2, 3),), {}),
        (((),), {}),
        ((None,), {}),
        (((), ()), {"times": (BUSY, {}, {}, {})}),
        (((0, 1), (2, 3)), {"driver": "mlx5_core"}),
        (((0, 1), (2, 3)), {"driver": "ena"}),
        (((0, 1), (2, 3)), {"driver": "i40e", "cpuinfo": GUEST}),
    ],
)
def test_what_is_well(masks, fields):
    assert outcome(*masks, **fields).status is Status.PASSED


def test_i40e_of_a_host_is_judged():
    assert outcome((0, 1), (2, 3), driver="i40e").status is Status.FINDING


@pytest.mark.parametrize(
    "masks",
    [((), ()), ((0, 1), None)],
    ids=["none is set", "unknown"],
)
def test_what_is_left_open(masks):
    assert outcome(*masks).status is Status.INCONCLUSIVE


def test_what_it_takes():
    assert outcome((0, 1), (2, 3), stat=None).status is Status.SKIPPED
    assert outcome((0, 1), (), earlier={"stat": stat({}, {})}).status is Status.INCONCLUSIVE
    assert outcome((0, 1), (), pps=10).status is Status.INCONCLUSIVE
