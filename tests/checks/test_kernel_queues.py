"""The kernel's own map of queues to interrupts, threads and counters comes before names."""

import dataclasses

from dirtune.checks import Severity, Status, run
from dirtune.checks.irq import nic_vectors
from dirtune.checks.nic import queue_packets
from dirtune.checks.nic.rx_ring_overflow import rx_ring_overflow
from dirtune.checks.softirq.threaded_napi import threaded_napi
from dirtune.collect.netdev import Napi, NicQueue, NicQueues
from dirtune.snapshot import Snapshot
from tests.checks.samples import interface, interrupts, msi, process, two

# No name in these rows says that they belong to eth0, and "eth0-misc" carries no packets.
NAMELESS = interrupts(
    msi(40, "comp0@pci:0000:3b:00.0", 9, 0, 0, 0),
    msi(41, "comp1@pci:0000:3b:00.0", 0, 9, 0, 0),
    msi(42, "eth0-misc", 5, 0, 0, 0),
)
PORT = interface(ifindex=4, threaded=True)
TOLD = NicQueues((Napi(4, 1, 40, 900), Napi(4, 2, 41, 901)), ())


def test_vectors_are_those_of_the_napi_instances():
    found = nic_vectors(Snapshot(interrupts=NAMELESS, interfaces=(PORT,), netdev=TOLD))

    assert [(v.line.irq, v.interface) for v in found] == [("40", "eth0"), ("41", "eth0")]


def test_without_the_kernel_the_names_decide():
    found = nic_vectors(Snapshot(interrupts=NAMELESS, interfaces=(PORT,)))

    assert "eth0" not in [v.interface for v in found if v.line.irq in {"40", "41"}]


def counted(packets, overruns=0):
    return NicQueues(
        (), tuple(NicQueue(4, "rx", n, None, p, overruns) for n, p in enumerate(packets))
    )


def test_packets_of_queues_are_the_kernels():
    port = dataclasses.replace(PORT, driver="unknown")
    snapshot = two({"netdev": counted((100, 7))}, interfaces=(port,), netdev=counted((600, 7, 5)))

    assert queue_packets(snapshot, "eth0") == {0: 500, 1: 0}


def test_overruns_of_queues_are_losses_of_the_ring():
    port = dataclasses.replace(PORT, driver="unknown")
    snapshot = two(
        {"netdev": counted((0, 0), 3)}, interfaces=(port,), netdev=counted((0, 0), 5_003)
    )
    (finding,) = run((rx_ring_overflow,), snapshot)[0].findings

    assert finding.severity is Severity.CRITICAL
    assert finding.evidence["counters"] == {"rx-hw-drop-overruns": 10_000}


def test_threads_are_those_of_the_napi_instances():
    threads = tuple(process(pid, f"poller-{pid}", kernel=True, cpu=2) for pid in (900, 902))
    before = tuple(dataclasses.replace(p, cpu=1) for p in threads)
    snapshot = two({"processes": before}, interfaces=(PORT,), processes=threads, netdev=TOLD)
    (finding,) = run((threaded_napi,), snapshot)[0].findings

    assert finding.evidence["pids"] == [900]
    nameless = dataclasses.replace(snapshot, netdev=None)
    assert run((threaded_napi,), nameless)[0].status is Status.PASSED
