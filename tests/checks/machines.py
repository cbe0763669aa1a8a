"""Snapshots of the lab's director in its placements, written by hand."""

import dataclasses

from dirtune.analyse.handlers import HandlerCalls, HandlerWindow
from dirtune.collect.interrupts import parse_interrupts
from dirtune.collect.ip_vs import Destination, Service
from dirtune.collect.ipvs_netlink import IpvsDestination, IpvsService
from dirtune.collect.kernel import Kernel
from dirtune.collect.net import Interface
from dirtune.collect.pci import PciDevice
from dirtune.collect.processes import Process
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Snapshot
from tests.checks.earlier import sample_before, with_earlier

CARD = PciDevice("0000:00:10.0", 0x020000, "e1000", 10, nets=("enp0s16",))
DISK = PciDevice("0000:00:14.0", 0x010000, "sym53c8xx", 10)
SMBUS = PciDevice("0000:00:1f.3", 0x0C0500, "i801_smbus", 10)
USB = PciDevice("0000:00:1d.7", 0x0C0320, "ehci-pci", 10, usb_buses=("usb1",))
SHARED = "IO-APIC  20-fasteoi   i801_smbus, sym53c8xx, enp0s16"


def table(*rows, cpus=1):
    head = "     " + "".join(f"CPU{n}       " for n in range(cpus))
    return parse_interrupts("\n".join((head, *rows)) + "\n")


def line(tail, *, irq=10, count=40, cpus=1):
    return table(f" {irq}: {count} {'0 ' * (cpus - 1)}  {tail}", cpus=cpus)


def host(tail, **fields):
    """A host with one interrupt line and the lab's devices on it."""
    fields = {
        "pci": (CARD, DISK, SMBUS),
        "cmdline": ("quiet",),
        "mounts": (),
        "swaps": (),
    } | fields
    fields |= {"kernel": Kernel("lb1", "6.1.0-56-amd64", "#1 SMP PREEMPT_DYNAMIC Debian")}
    return Snapshot(interrupts=line(tail), **fields)


def at_rate(snapshot, per_second, *, packets=0):
    """The same host with a sample 2 s before it, at this rate on every line."""
    cards = [net for device in snapshot.pci or () for net in device.nets]
    now = tuple(Interface(n, None, None, True, 10**6, 0) for n in cards)
    then = tuple(dataclasses.replace(i, rx_packets=10**6 - 2 * packets) for i in now)
    lines = tuple(
        dataclasses.replace(one, counts=(one.counts[0] + 2 * per_second, *one.counts[1:]))
        for one in snapshot.interrupts.lines
    )
    later = dataclasses.replace(snapshot.interrupts, lines=lines)
    earlier = sample_before(snapshot, 10.0, interfaces=then)
    return dataclasses.replace(
        snapshot, interrupts=later, taken_s=12.0, earlier=earlier, interfaces=now
    )


def window(*handlers, seconds=20.0, interrupts=2942, irq=10):
    """A probed window; each handler is (name, calls, IRQ_NONE, nanoseconds each)."""
    calls = tuple(
        HandlerCalls(irq, name, n, none, 0, n * ns, none * ns, ns)
        for name, n, none, ns in handlers
    )
    return HandlerWindow(seconds, calls, {str(irq): interrupts})


VIP = "198.18.0.100"


def service(*weights, protocol="TCP", port=80, forward="Route", scheduler="rr", **more):
    """A service of VIP with a server 198.18.0.11 onwards of each weight; `loads` per server."""
    loads = more.pop("loads", ()) or ((0, 0),) * len(weights)
    return Service(
        protocol,
        VIP,
        port,
        None,
        scheduler,
        destinations=tuple(
            Destination(f"198.18.0.{11 + n}", port, forward, weight, *loads[n])
            for n, weight in enumerate(weights)
        ),
        **more,
    )


def detailed(plain, *servers, **fields):
    """The same service as netlink tells it; *servers* are fields of each destination."""
    told = servers or ({},) * len(plain.destinations)
    rows = tuple(
        IpvsDestination(
            **{"active": d.active, "inactive": d.inactive, "weight": d.weight}
            | {"address": d.address, "port": d.port, "forward": d.forward}
            | more
        )
        for d, more in zip(plain.destinations, told, strict=True)
    )
    return IpvsService(
        protocol=plain.protocol,
        address=plain.address,
        port=plain.port,
        scheduler=plain.scheduler,
        destinations=rows,
        **fields,
    )


def director(*services, sysctls=None, earlier=None, **fields):
    """A director that holds VIP; *sysctls* below net/ipv4/vs unless they say otherwise.

    *earlier* are the fields that differed 10 s before.
    """
    values = {
        name if "/" in name else f"net/ipv4/vs/{name}": str(value)
        for name, value in (sysctls or {}).items()
    }
    now = Snapshot(
        **{"addresses": frozenset({VIP, "198.18.0.1"}), "taken_s": 1000.0}
        | {"services": services, "sysctls": Sysctls(values)}
        | fields
    )
    if earlier is None:
        return now
    return with_earlier(now, **{"taken_s": 990.0} | earlier)


def program(name, *, pid=700, ticks=0, kernel=False, cpu=0):
    return Process(pid, name, kernel, ticks, cpu, "other", 0)
