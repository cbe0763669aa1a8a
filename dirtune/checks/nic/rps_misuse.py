from collections.abc import Iterator
from dataclasses import dataclass

from dirtune.checks import Finding, Role, Severity, Verdicts, check, inconclusive
from dirtune.checks.host_roles import roles
from dirtune.checks.ipvs import forwarding
from dirtune.checks.irq import card, named_cpus, near
from dirtune.checks.nic import ports, steer
from dirtune.checks.remedies import commands
from dirtune.collect.cpus import Cpus
from dirtune.collect.ip_vs import Forward
from dirtune.collect.net import Interface, Queue
from dirtune.settings import KernelFile
from dirtune.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class _Fault:
    """A mistake in the settings of RPS or RFS, and the settings that correct it."""

    what: str
    rows: tuple[KernelFile, ...]


@check("nic/rps-misuse", severity=Severity.LOW, trust="B", needs=("interfaces",))
def rps_misuse(snapshot: Snapshot, cpus: Cpus) -> Verdicts:
    """RPS or RFS steers packets to other CPUs without need, or to the wrong CPUs.

    ## What it does
    The check reports RPS on a NIC that has at least as many receive queues as there are physical
    cores near it. RPS is meant for NICs with fewer queues than cores. It reports an RPS mask with
    CPUs that are offline or not near the NIC. It also reports RFS (`rps_flow_cnt` and
    `net.core.rps_sock_flow_entries` above 0) on a director that serves nothing itself. CPUs far
    from the NIC are not reported in a guest, or if the firmware does not name the NIC's node.

    ## Why it matters
    If the NIC's queues already reach each core, RPS only adds an interrupt between CPUs and
    another queue. Packets for a CPU of another node cross the link between the nodes. RFS sends a
    packet to the CPU of the program that reads it, but no local program reads a forwarded packet.

    ## Remediation
    Write 0, or a mask of the CPUs near the NIC, into `rps_cpus`, and 0 into `rps_flow_cnt`. Both
    take effect immediately. Keep the settings with a udev rule.

    ## Known problems
    The check does not see RPS on a VLAN, bond or bridge above the port. Queues that get no packets
    also count as queues.

    ## References
    - Documentation/networking/scaling.rst, "RPS" and "RFS"
    """
    for port in ports(snapshot):
        faults = tuple(_faults(snapshot, cpus, port))
        if faults:
            yield _finding(snapshot, port, faults)
        elif not port.rx_queues or any(queue.cpus is None for queue in port.rx_queues):
            yield inconclusive(f"the queues of {port.name} or their RPS masks are unknown")
        elif any(queue.flows for queue in port.rx_queues) and _rfs_unknown(snapshot):
            yield inconclusive("net.core.rps_sock_flow_entries is unknown, so RFS may be on")


def _faults(snapshot: Snapshot, cpus: Cpus, port: Interface) -> Iterator[_Fault]:
    masked = [queue for queue in port.rx_queues if queue.cpus]
    cores = cpus.cores(near(snapshot, port.name))
    if masked and len(port.rx_queues) >= cores:
        what = (
            f"RPS is on, although {port.name} already has {len(port.rx_queues)} queues for "
            f"{cores} cores"
        )
        yield _Fault(what, tuple(steer(port, queue.name, ()) for queue in masked))
    else:
        yield from _wrong_cpus(snapshot, cpus, port, masked)
    if _forwards_only(snapshot) and _sockets(snapshot):
        at = f"/sys/class/net/{port.name}/queues"
        rows = tuple(
            KernelFile(f"{at}/{q.name}/rps_flow_cnt", "0") for q in port.rx_queues if q.flows
        )
        if rows:
            yield _Fault(
                f"RFS on {port.name} searches for local sockets, but forwarded packets have none",
                rows,
            )


def _wrong_cpus(
    snapshot: Snapshot, cpus: Cpus, port: Interface, masked: list[Queue]
) -> Iterator[_Fault]:
    named = {cpu for queue in masked for cpu in queue.cpus or ()}
    offline = named - {*cpus.online}
    remote = _remote(snapshot, port, named) - offline
    rows = []
    for queue in masked:
        right = {*(queue.cpus or ())} - offline - remote
        if right != {*(queue.cpus or ())}:
            rows.append(steer(port, queue.name, right or near(snapshot, port.name)))
    for wrong, where in ((offline, "offline"), (remote, "on another NUMA node")):
        if wrong:
            verb = "is" if len(wrong) == 1 else "are"
            what = f"{named_cpus(sorted(wrong))} in the RPS masks of {port.name} {verb} {where}"
            yield _Fault(what, (*rows,))


def _remote(snapshot: Snapshot, port: Interface, named: set[int]) -> set[int]:
    device = card(snapshot, port.name)
    guest = snapshot.cpuinfo is not None and snapshot.cpuinfo.guest
    if guest or device is None or device.numa_node is None or not device.local_cpus:
        return set()
    return named - {*device.local_cpus}


def _forwards_only(snapshot: Snapshot) -> bool:
    found = roles(snapshot)
    serves = Role.REAL_SERVER in found or Forward.LOCAL in forwarding(snapshot)
    return Role.DIRECTOR in found and not serves


def _rfs_unknown(snapshot: Snapshot) -> bool:
    return _forwards_only(snapshot) and _sockets(snapshot) is None


def _sockets(snapshot: Snapshot) -> int | None:
    """Return the size of RFS's socket table; 0 if RFS is off, None if unknown."""
    return snapshot.sysctl("net/core/rps_sock_flow_entries")


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
        fixes=(commands(snapshot, "correct-rps", "Correct the RPS and RFS settings", rows),),
    )
