from dirtune.checks import (
    Finding,
    Fix,
    Risk,
    Severity,
    Verdicts,
    check,
    inconclusive,
    not_applicable,
)
from dirtune.checks.net import pps
from dirtune.checks.together import listed, subjects
from dirtune.collect.net import Interface
from dirtune.collect.pci import Link, PciDevice
from dirtune.snapshot import Snapshot

# Gbit/s that one lane carries after its coding, by GT/s.
_LANE_GBPS = {2.5: 2.0, 5.0: 4.0, 8.0: 7.9, 16.0: 15.8, 32.0: 31.5, 64.0: 63.0}
_ROOM = 1.2  # times the ports' speed, because DMA of descriptors and headers needs some bandwidth
_AWAKE_PPS = 1000
# Virtual NICs, for hosts where it is unknown whether they are guests.
_VIRTUAL = frozenset({"virtio-pci", "vmxnet3", "ena", "gve"})


@check("link/pcie-narrow", severity=Severity.MEDIUM, trust="B", needs=("pci", "interfaces"))
def pcie_narrow(snapshot: Snapshot) -> Verdicts:
    """A NIC's PCI Express slot is slower or narrower than the NIC supports.

    ## What it does
    The check examines NICs whose PCI Express link has fewer lanes or a lower speed than the NIC
    supports. It reports a link that carries less than 1.2 times the sum of the ports' speeds. The
    finding is `high` if the link carries less than the sum, else `medium`. One lane of 2.5, 5, 8
    and 16 GT/s carries 2, 4, 7.9 and 15.8 Gbit/s. An idle NIC may lower the link's speed to save
    power: if the link has all lanes but less speed, and the ports have fewer than 1,000 packets/s,
    the check is inconclusive. Guests, and PCI functions without their own link, are not reported.

    ## Why it matters
    The NIC cannot deliver all packets that it receives. It drops some (`rx_missed_errors`) while
    the CPUs are idle.

    ## Remediation
    Use another slot or another riser, or change the slot's settings in the firmware (bifurcation,
    speed).

    ## Known problems
    In a guest, a NIC that is passed through looks like an emulated one. The check does not examine
    bridges above the NIC, which may be narrower than the NIC. Ports that are down have no speed
    and do not count.

    ## References
    - PCI Express Base Specification, "Link Training"
    - Documentation/ABI/testing/sysfs-bus-pci, `current_link_width`
    """
    if snapshot.cpuinfo and snapshot.cpuinfo.guest:
        yield not_applicable("this host is a guest, and its PCIe slots are virtual")
        return
    for address, functions in _by_card(snapshot).items():
        yield from _judged(snapshot, address, functions)


def _by_card(snapshot: Snapshot) -> dict[str, list[PciDevice]]:
    """Return the PCI functions that are NICs, by the address of their device."""
    nics: dict[str, list[PciDevice]] = {}
    for device in snapshot.pci or ():
        if device.nets and device.driver not in _VIRTUAL:
            nics.setdefault(device.address.rpartition(".")[0], []).append(device)
    return nics


def _judged(snapshot: Snapshot, address: str, functions: list[PciDevice]) -> Verdicts:
    device = functions[0]
    if device.link is None or device.link_max is None:
        return
    slower = device.link.gt_per_s < device.link_max.gt_per_s
    narrower = device.link.width < device.link_max.width
    if not (slower or narrower):
        return
    names = {net for function in functions for net in function.nets}
    ports = tuple(i for i in snapshot.interfaces or () if i.name in names)
    needed = sum(i.speed_mbps or 0 for i in ports) / 1000
    usable = _usable(device.link)
    if not needed or usable is None:
        yield inconclusive(f"the speed of the ports or of the slot of {address} is unknown")
    elif usable < _ROOM * needed and not narrower and not _awake(snapshot, ports):
        yield inconclusive(
            f"the slot of {address} may have slowed down to save power, because no packets "
            "were seen"
        )
    elif usable < _ROOM * needed:
        yield _finding(device.address, device.link, device.link_max, ports, (usable, needed))


def _usable(link: Link) -> float | None:
    lane = _LANE_GBPS.get(link.gt_per_s)
    return None if lane is None or not link.width else lane * link.width


def _awake(snapshot: Snapshot, ports: tuple[Interface, ...]) -> bool:
    rate = pps(snapshot, ports)
    return rate is not None and rate >= _AWAKE_PPS


def _finding(
    address: str, now: Link, best: Link, ports: tuple[Interface, ...], gbps: tuple[float, float]
) -> Finding:
    usable, needed = gbps
    return Finding(
        subject=subjects(port.name for port in ports),
        severity=Severity.HIGH if usable < needed else Severity.MEDIUM,
        message=(
            f"The slot of {listed(port.name for port in ports)} runs at x{now.width} and "
            f"{now.gt_per_s:g} GT/s, but the NIC supports x{best.width} at {best.gt_per_s:g} "
            f"GT/s; the slot carries {usable:g} Gbit/s, and the ports need {needed:g} Gbit/s"
        ),
        evidence={
            "pci": address,
            "width": now.width,
            "width_max": best.width,
            "gt_per_s": now.gt_per_s,
            "gt_per_s_max": best.gt_per_s,
            "usable_gbps": usable,
            "ports_gbps": needed,
        },
        fixes=(
            Fix(
                "move-card",
                "Use another slot, or change the settings of this slot in the firmware",
                Risk.REBOOT,
            ),
        ),
    )
