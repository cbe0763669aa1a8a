from collections.abc import Iterator
from dataclasses import dataclass

from dirtune.checks import Finding, Severity, Verdicts, check, inconclusive, roles
from dirtune.checks.ipvs import forwarding
from dirtune.checks.irq import card, listed, near
from dirtune.checks.nic import ports, steer
from dirtune.checks.remedies import commands
from dirtune.collect.net import Interface, Queue
from dirtune.settings import KernelFile
from dirtune.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class _Fault:
    """One way in which packets are steered wrongly, and what mends it."""

    what: str
    rows: tuple[KernelFile, ...]


@check("nic/rps-misuse", severity=Severity.LOW, trust="B", needs=("interfaces", "cpus"))
def rps_misuse(snapshot: Snapshot) -> Verdicts:
    """RPS or RFS sends packets where they need not go.

    ## What it does
    Reports a card with RPS on and as many receive queues as physical cores near it or more; with
    CPUs in an RPS mask that are offline, or that are not near the card; and RFS
    (`rps_flow_cnt` and `net.core.rps_sock_flow_entries` above 0) on a director that serves nothing
    itself. CPUs far from the card are left alone in a guest and where the firmware does not tell
    the card's node. Fewer queues than cores are what RPS is for.

    ## Why it matters
    Where the card's queues reach each core, RPS adds an interrupt between CPUs and a queue to
    packets that are spread already. Packets for a CPU of another node cross the link between the
    sockets. RFS sends a packet to the CPU of the local socket that reads it: a forwarded packet
    has none.

    ## Remediation
    Write 0 into `rps_cpus` and `rps_flow_cnt`, or a mask of the CPUs near the card; at once, and
    with a udev rule for later.

    ## Known problems
    RPS on a VLAN, bond or bridge above the port is not seen. Queues that get no packets count as
    queues.

    ## References
    - Documentation/networking/scaling.rst, "RPS" and "RFS"
    """
    for port in ports(snapshot):
        faults = tuple(_faults(snapshot, port))
        if faults:
            yield _finding(snapshot, port, faults)
        elif not port.rx_queues or any(queue.cpus is None for queue in port.rx_queues):
            yield inconclusive(f"{port.name}: its queues or their RPS masks are not known")
        elif any(queue.flows for queue in port.rx_queues) and _rfs_unknown(snapshot):
            yield inconclusive("whether RFS is on is not known")


def _faults(snapshot: Snapshot, port: Interface) -> Iterator[_Fault]:
    assert snapshot.cpus is not None
    masked = [queue for queue in port.rx_queues if queue.cpus]
    cores = snapshot.cpus.cores(near(snapshot, port.name))
    if masked and len(port.rx_queues) >= cores:
        what = f"RPS is on with {len(port.rx_queues)} queues for {cores} cores"
        yield _Fault(what, tuple(steer(port, queue.name, ()) for queue in masked))
    else:
        yield from _wrong_cpus(snapshot, port, masked)
    if _forwards_only(snapshot) and _sockets(snapshot):
        at = f"/sys/class/net/{port.name}/queues"
        rows = tuple(
            KernelFile(f"{at}/{q.name}/rps_flow_cnt", "0") for q in port.rx_queues if q.flows
        )
        if rows:
            yield _Fault("RFS looks for local sockets of forwarded packets", rows)


def _wrong_cpus(snapshot: Snapshot, port: Interface, masked: list[Queue]) -> Iterator[_Fault]:
    assert snapshot.cpus is not None
    named = {cpu for queue in masked for cpu in queue.cpus or ()}
    offline = named - {*snapshot.cpus.online}
    remote = _remote(snapshot, port, named) - offline
    rows = []
    for queue in masked:
        right = {*(queue.cpus or ())} - offline - remote
        if right != {*(queue.cpus or ())}:
            rows.append(steer(port, queue.name, right or near(snapshot, port.name)))
    for cpus, where in ((offline, "are offline"), (remote, "are of another node")):
        if cpus:
            yield _Fault(f"CPUs of RPS masks {where}: {listed(map(str, sorted(cpus)))}", (*rows,))


def _remote(snapshot: Snapshot, port: Interface, named: set[int]) -> set[int]:
    device = card(snapshot, port.name)
    guest = snapshot.cpuinfo is not None and snapshot.cpuinfo.guest
    if guest or device is None or device.numa_node is None or not device.local_cpus:
        return set()
    return named - {*device.local_cpus}


def _forwards_only(snapshot: Snapshot) -> bool:
    found = roles(snapshot)
    serves = "real-server" in found or "Local" in forwarding(snapshot)
    return "director" in found and not serves


def _rfs_unknown(snapshot: Snapshot) -> bool:
    return _forwards_only(snapshot) and _sockets(snapshot) is None


def _sockets(snapshot: Snapshot) -> int | None:
    """Return the size of the table of sockets that RFS goes by; 0 is off, None unknown."""
    return snapshot.sysctls.number("net/core/rps_sock_flow_entries") if snapshot.sysctls else None


def _finding(snapshot: Snapshot, port: Interface, faults: tuple[_Fault, ...]) -> Finding:
    rows = dict.fromkeys(row for fault in faults for row in fault.rows)
    return Finding(
        subject=port.name,
        severity=Severity.LOW,
        message="; ".join(fault.what for fault in faults),
        evidence={
            "rps_cpus": {q.name: list(q.cpus) for q in port.rx_queues if q.cpus},
            "rps_flow_cnt": {q.name: q.flows for q in port.rx_queues if q.flows},
            "near_cpus": list(near(snapshot, port.name)),
        },
        fixes=(commands(snapshot, "correct-rps", "Steer packets no more than needed", rows),),
    )
