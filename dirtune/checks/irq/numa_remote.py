from collections.abc import Mapping

from dirtune.checks import Finding, Severity, Verdicts, check, inconclusive, not_applicable
from dirtune.checks.irq import Vector, active, card, grouped, nic_vectors, per_cpu, spread
from dirtune.collect.cpus import Cpus
from dirtune.snapshot import Snapshot

# Shares of the interrupts, and Mbit/s; estimates, not calibrated.
_SHARE = 0.30
_HIGH_SHARE, _HIGH_MBPS = 0.50, 10_000
_SAME_SOCKET = 12  # distance of nodes of one AMD socket (NPS > 1)


@check(
    "irq/numa-remote",
    severity=Severity.MEDIUM,
    trust="B",
    needs=("interrupts", "pci"),
    traffic=True,
)
def numa_remote(snapshot: Snapshot, cpus: Cpus) -> Verdicts:
    """A NIC interrupts CPUs of another NUMA node.

    ## What it does
    The check reports a NIC if CPUs that are not near the NIC take 30 % of its interrupts or more.
    The finding is `high` at 50 % or more on a link of 10 Gbit/s or more, else `medium`. CPUs of a
    node at a distance of 12 or less count as near. Not reported are NICs whose node the firmware
    does not name, NICs whose near CPUs are all isolated, machines with one node, and guests.

    ## Why it matters
    The NIC writes packets and descriptors to memory of its own node. A CPU of another node fetches
    each of them over the link between the nodes.

    ## Remediation
    Pin the vectors to the CPUs in the NIC's `local_cpulist`.

    ## References
    - Documentation/networking/scaling.rst
    """
    if snapshot.cpuinfo and snapshot.cpuinfo.guest:
        yield not_applicable("this host is a guest, and the hypervisor chooses its NUMA nodes")
        return
    if sum(bool(set(c) & set(cpus.online)) for c in cpus.nodes.values()) < 2:
        yield not_applicable("this host has only one NUMA node")
        return
    vectors = active(nic_vectors(snapshot))
    for name, mine in grouped(vectors).items():
        device = card(snapshot, name)
        if device is None:
            yield inconclusive(f"the PCI function of {name} is unknown")
        elif device.numa_node is not None:
            yield from _judge(snapshot, cpus, name, mine, _near(cpus, device.numa_node))


def _near(cpus: Cpus, node: int) -> frozenset[int]:
    # Distances are in the order of the nodes.
    distances = dict(zip(sorted(cpus.nodes), cpus.distances.get(node, ()), strict=False))
    nodes = {node} | {other for other, far in distances.items() if far <= _SAME_SOCKET}
    return frozenset(cpu for each in nodes for cpu in cpus.nodes.get(each, ()))


def _judge(
    snapshot: Snapshot, cpus: Cpus, name: str, vectors: tuple[Vector, ...], near: frozenset[int]
) -> Verdicts:
    loads: Mapping[int, float] = per_cpu(vectors)
    total = sum(loads.values())
    remote = {cpu: n for cpu, n in loads.items() if cpu not in near}
    share = sum(remote.values()) / total
    if share < _SHARE or not near & set(cpus.usable):
        return
    speed = next((i.speed_mbps for i in snapshot.interfaces or () if i.name == name), None)
    high = share >= _HIGH_SHARE and (speed or 0) >= _HIGH_MBPS
    yield Finding(
        subject=name,
        severity=Severity.HIGH if high else Severity.MEDIUM,
        message=f"{100 * share:.0f} % of the {total:,.0f} interrupts/s of {name} go to CPUs of "
        "another NUMA node",
        evidence={
            "irqs": [v.line.irq for v in vectors],
            "remote_cpus": sorted(remote),
            "remote_share": round(share, 3),
            "interrupts_per_second": round(total, 1),
            "speed_mbps": speed,
        },
        fixes=(spread(snapshot, vectors, "move-to-near-cpus"),),
    )
