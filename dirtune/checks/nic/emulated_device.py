from dirtune.analyse import rates
from dirtune.checks import Finding, Severity, Verdicts, check, inconclusive
from dirtune.checks.counters import before, loss
from dirtune.checks.irq import paravirtual
from dirtune.checks.nic import ports
from dirtune.collect.cpuinfo import CpuInfo
from dirtune.collect.net import Interface
from dirtune.snapshot import Snapshot

_HIGH_PPS = 10_000
_OFTEN_REAL = frozenset({"igb"})  # passed through to guests more often than emulated


@check(
    "nic/emulated-device",
    severity=Severity.HIGH,
    trust="A",
    needs=("interfaces",),
    traffic=True,
)
def emulated_device(snapshot: Snapshot, cpuinfo: CpuInfo) -> Verdicts:
    """A virtual machine uses an emulated NIC.

    ## What it does
    On a guest (a host whose CPU has the flag `hypervisor`), the check reports NICs with traffic
    that hypervisors typically emulate, by their drivers: e100, e1000, e1000e, 8139cp, 8139too,
    pcnet32, ne2k-pci and tulip. The finding is `high` if the NIC receives and sends 10,000
    packets/s or more in total, else `low`. virtio, vmxnet3 and hv_netvsc are made for guests and
    are not reported.

    ## Why it matters
    Each access to a NIC register is a switch from the guest to the hypervisor. Emulated NICs have
    one queue. They also share their interrupt line with other emulated devices, whose handlers
    cause more such switches.

    ## Remediation
    Give the guest a virtio NIC with several queues, a vmxnet3 NIC or a virtual function of a real
    NIC (SR-IOV), and restart the guest. Then enable the queues in the guest (`ethtool -L IF
    combined N`), because the default is often one queue.

    ## Known problems
    A real NIC with one of these drivers that is passed through to the guest looks the same.
    Emulated igb NICs are not reported, because igb NICs in guests are usually real ones that are
    passed through.

    ## References
    - Documentation/networking/device_drivers/ethernet/intel/i40e.rst, on virtual machines
    """
    for port in ports(snapshot):
        if cpuinfo.guest is None:
            yield inconclusive(
                "dirtune cannot detect on this architecture whether the host is a guest"
            )
        elif cpuinfo.guest and port.driver is None:
            yield inconclusive(f"the driver of {port.name} is unknown")
        elif port.driver not in _OFTEN_REAL and paravirtual(snapshot, port.driver):
            yield from _judged(snapshot, port)


def _judged(snapshot: Snapshot, port: Interface) -> Verdicts:
    then = before(snapshot, port.name)
    packets = rates.increase(rates.packets(then), rates.packets(port)) if then else None
    if packets is None or not snapshot.seconds:
        yield inconclusive(f"the packets of {port.name} were not counted in both samples")
        return
    lost = loss(snapshot, port)
    packets += lost.packets if lost else 0
    if packets:
        pps = packets / snapshot.seconds
        yield Finding(
            subject=port.name,
            severity=Severity.HIGH if pps >= _HIGH_PPS else Severity.LOW,
            message=f"The hypervisor emulates {port.name} ({port.driver}), which carries "
            f"{pps:,.0f} packets/s",
            evidence={"driver": port.driver, "packets_per_second": round(pps, 1)},
            fixes=paravirtual(snapshot, port.driver),
        )
