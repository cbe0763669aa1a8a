from collections.abc import Mapping

from dirtune.checks import Finding, Fix, Severity, Verdicts, check, inconclusive
from dirtune.checks.cpu import percents
from dirtune.checks.irq import cores_first, listed, near, nic_vectors, receiving
from dirtune.checks.nic import mask, ports
from dirtune.checks.remedies import commands
from dirtune.collect.net import Interface
from dirtune.settings import KernelFile
from dirtune.snapshot import Snapshot

_BUSY_PERCENT = 30.0  # of a CPU, in softirqs; an estimate, not calibrated
_OWN_CHOICE = frozenset({"ena", "mlx4_en", "mlx4_core", "mlx5_core"})  # ndo_select_queue()
_NOT_IN_GUESTS = frozenset({"i40e", "iavf", "i40evf"})


@check(
    "nic/xps-unset",
    severity=Severity.LOW,
    trust="B",
    needs=("interfaces", "cpus", "stat"),
    traffic=True,
)
def xps_unset(snapshot: Snapshot) -> Verdicts:
    """Several busy CPUs send through one queue while others are not used.

    ## What it does
    Reports a card with XPS masks that send two CPUs that spend 30 % of their time or more in
    softirqs to one transmit queue, while another queue has no such CPU. Drivers that choose queues
    themselves (ena, mlx4, mlx5), i40e in a guest (its vendor says to leave XPS off) and cards with
    one queue are left alone.

    ## Why it matters
    The CPUs wait for each other's lock on the queue, and free each other's packets.

    ## Remediation
    Give each CPU a queue of its own (`xps_cpus`), the one of the receive queue that it serves; at
    once, and with a udev rule for later. Note what `cat /sys/class/net/IF/queues/tx-*/xps_cpus`
    prints before: writing it back undoes it.

    ## Known problems
    Where no mask is set, a hash chooses the queue: whether that costs anything shows in the time
    spent waiting for locks of queues, which is not read, so it is left open. Maps from receive
    queues (`xps_rxqs`) are not read either, and are used before masks.

    ## References
    - Documentation/networking/scaling.rst, "XPS: Transmit Packet Steering"
    """
    times = percents(snapshot)
    if not times:
        yield inconclusive("CPUs came or went between the samples")
        return
    busy = {cpu for cpu, each in times.items() if each.get("softirq", 0.0) >= _BUSY_PERCENT}
    for port in ports(snapshot):
        if len(port.tx_queues) > 1 and not _left_alone(snapshot, port):
            yield from _judged(snapshot, port, busy)


def _left_alone(snapshot: Snapshot, port: Interface) -> bool:
    guest = snapshot.cpuinfo is not None and bool(snapshot.cpuinfo.guest)
    return port.driver in _OWN_CHOICE or (guest and port.driver in _NOT_IN_GUESTS)


def _judged(snapshot: Snapshot, port: Interface, busy: set[int]) -> Verdicts:
    users = {q.name: {*q.cpus} & busy for q in port.tx_queues if q.cpus is not None}
    if len(users) < len(port.tx_queues):
        yield inconclusive(f"{port.name}: its XPS masks are not known")
    elif not any(queue.cpus for queue in port.tx_queues):
        if len(busy) > 1:
            yield inconclusive(f"{port.name}: no XPS mask is set, and waiting for its queues' "
                               "locks is not read")  # fmt: skip
    elif not all(users.values()):
        crowded = {name: cpus for name, cpus in users.items() if len(cpus) > 1}
        if crowded:
            yield _finding(snapshot, port, crowded)


def _finding(snapshot: Snapshot, port: Interface, crowded: Mapping[str, set[int]]) -> Finding:
    name = max(crowded, key=lambda each: len(crowded[each]))
    cpus = listed(map(str, sorted(crowded[name])))
    return Finding(
        subject=port.name,
        severity=Severity.LOW,
        message=f"busy CPUs {cpus} send through queue {name}, and other queues have none",
        evidence={
            "busy_cpus": {queue: sorted(each) for queue, each in crowded.items()},
            "xps_cpus": {queue.name: list(queue.cpus or ()) for queue in port.tx_queues},
        },
        fixes=(_map(snapshot, port),),
    )


def _map(snapshot: Snapshot, port: Interface) -> Fix:
    vectors = receiving(v for v in nic_vectors(snapshot) if v.interface == port.name)
    single = [v.cpus[0] for v in vectors if v.cpus and len(v.cpus) == 1]
    online = snapshot.cpus.online if snapshot.cpus else ()
    rest = (*cores_first(snapshot, near(snapshot, port.name)), *cores_first(snapshot, online))
    order = tuple(dict.fromkeys((*single, *rest)))
    rows = (
        KernelFile(
            f"/sys/class/net/{port.name}/queues/{queue.name}/xps_cpus",
            mask(order[at :: len(port.tx_queues)]),
        )
        for at, queue in enumerate(port.tx_queues)
    )
    return commands(snapshot, "spread-xps", "Give each CPU a queue of its own", rows)
