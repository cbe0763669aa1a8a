from collections.abc import Mapping

from dirtune.checks import Finding, Fix, Severity, Verdicts, check, inconclusive
from dirtune.checks.cpu import percents
from dirtune.checks.irq import cores_first, named_cpus, near, receiving, vectors_of
from dirtune.checks.nic import ports
from dirtune.checks.remedies import commands
from dirtune.collect.net import Interface
from dirtune.cpu_sets import format_cpumask
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
    """Several busy CPUs send through one queue while other queues are unused.

    ## What it does
    The check looks for CPUs that spend 30 % of their time or more in softirqs. It reports a NIC if
    its XPS masks make two of these CPUs send through the same transmit queue, while none of them
    uses another queue. Not reported are drivers that choose queues themselves (ena, mlx4, mlx5),
    i40e in a guest, whose vendor advises against XPS, and NICs with one queue.

    ## Why it matters
    The CPUs wait for the same queue lock, and free each other's packets.

    ## Remediation
    Let each CPU send through the transmit queue that belongs to the receive queue it serves
    (`xps_cpus`). This takes effect immediately; keep it with a udev rule. First save the output of
    `grep . /sys/class/net/IF/queues/tx-*/xps_cpus`: to undo the change, write these values back.

    ## Known problems
    Without masks, a hash chooses the queue. dirtune does not measure the time spent waiting for
    queue locks, so it cannot say whether the hash costs anything, and the check is inconclusive.
    The check does not read maps from receive queues (`xps_rxqs`), which the kernel prefers to
    masks.

    ## References
    - Documentation/networking/scaling.rst, "XPS: Transmit Packet Steering"
    """
    times = percents(snapshot)
    if not times:
        yield inconclusive("CPUs came online or went offline between the samples")
        return
    busy = {cpu for cpu, share in times.items() if share.get("softirq", 0.0) >= _BUSY_PERCENT}
    for port in ports(snapshot):
        if len(port.tx_queues) > 1 and not _left_alone(snapshot, port):
            yield from _judged(snapshot, port, busy)


def _left_alone(snapshot: Snapshot, port: Interface) -> bool:
    guest = snapshot.cpuinfo is not None and bool(snapshot.cpuinfo.guest)
    return port.driver in _OWN_CHOICE or (guest and port.driver in _NOT_IN_GUESTS)


def _judged(snapshot: Snapshot, port: Interface, busy: set[int]) -> Verdicts:
    users = {q.name: {*q.cpus} & busy for q in port.tx_queues if q.cpus is not None}
    if len(users) < len(port.tx_queues):
        yield inconclusive(f"the XPS masks of {port.name} are unknown")
    elif not any(queue.cpus for queue in port.tx_queues):
        if len(busy) > 1:
            yield inconclusive(
                f"{port.name} has no XPS mask, and the time spent waiting for its queue locks was "
                "not measured"
            )
    elif not all(users.values()):
        crowded = {name: cpus for name, cpus in users.items() if len(cpus) > 1}
        if crowded:
            yield _finding(snapshot, port, crowded)


def _finding(snapshot: Snapshot, port: Interface, crowded: Mapping[str, set[int]]) -> Finding:
    name = max(crowded, key=lambda queue: len(crowded[queue]))
    return Finding(
        subject=port.name,
        severity=Severity.LOW,
        message=f"The busy {named_cpus(sorted(crowded[name]))} all send through queue {name} of "
        f"{port.name}, while no busy CPU uses the other queues",
        evidence={
            "busy_cpus": {queue: sorted(cpus) for queue, cpus in crowded.items()},
            "xps_cpus": {queue.name: list(queue.cpus or ()) for queue in port.tx_queues},
        },
        fixes=(_map(snapshot, port),),
    )


def _map(snapshot: Snapshot, port: Interface) -> Fix:
    vectors = receiving(vectors_of(snapshot, port.name))
    single = [v.cpus[0] for v in vectors if v.cpus and len(v.cpus) == 1]
    online = snapshot.cpus.online if snapshot.cpus else ()
    rest = (*cores_first(snapshot, near(snapshot, port.name)), *cores_first(snapshot, online))
    order = tuple(dict.fromkeys((*single, *rest)))
    rows = (
        KernelFile(
            f"/sys/class/net/{port.name}/queues/{queue.name}/xps_cpus",
            format_cpumask(order[at :: len(port.tx_queues)]),
        )
        for at, queue in enumerate(port.tx_queues)
    )
    return commands(snapshot, "spread-xps", "Give each CPU a transmit queue of its own", rows)
