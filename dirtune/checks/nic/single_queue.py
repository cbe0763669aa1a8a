from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, inconclusive
from dirtune.checks.counters import card
from dirtune.checks.cpu import percents
from dirtune.checks.irq import near, paravirtual, vectors_of
from dirtune.checks.nic import arrived, ports, steer
from dirtune.checks.remedies import commands
from dirtune.collect.net import Interface
from dirtune.settings import CHANNELS, CardValues
from dirtune.snapshot import Snapshot

_QUIET_PPS = 20_000
_HIGH_PPS = 200_000  # packets/s; an estimate, not calibrated
_HIGH_PERCENT = 50.0  # of the serving CPU, in softirq


@check(
    "nic/single-queue",
    severity=Severity.HIGH,
    trust="A",
    needs=("interfaces", "cpus"),
    traffic=True,
)
def single_queue(snapshot: Snapshot, seconds: float) -> Verdicts:
    """One receive queue feeds a host with several CPUs, and RPS is off.

    ## What it does
    The check reports a physical interface with one receive queue, no CPU in its `rps_cpus` and two
    or more online CPUs near the NIC. The finding is `high` if the CPU that takes its interrupts
    spends 50 % of its time or more in softirqs, or if the interface receives 200,000 packets/s or
    more. Below 20,000 packets/s, one queue costs nothing yet, and the finding is `info`. Otherwise
    it is `medium`. The check examines the ports of bridges, bonds, VLANs and tunnels, not these
    devices themselves.

    ## Why it matters
    One core does all of IPVS's work for these packets.

    ## Remediation
    Enable more queues of the NIC first (`ethtool -L`, which stops traffic for a moment and resets
    the RSS table and the interrupt affinities). If the NIC has only one queue, let RPS spread
    packets over the CPUs near the NIC, except the CPU that takes the interrupts. RPS costs an
    interrupt between CPUs and one more queue. It does not reorder the packets of a flow. A reboot
    resets both settings: keep them with a udev rule, or with `net.core.rps_default_mask` if the
    kernel has it.

    ## Known problems
    The check does not see RPS on a VLAN, bond or bridge above the port. It does not report a NIC
    that has several queues but uses only one.

    ## References
    - Documentation/networking/scaling.rst, "RPS: Receive Packet Steering"
    """
    for port in ports(snapshot):
        packets = arrived(snapshot, port)
        if _queues(snapshot, port) > 1 or len(near(snapshot, port.name)) < 2:
            continue
        pps = None if packets is None else packets / seconds
        if pps is None:
            yield inconclusive(f"the packets of {port.name} were not counted in both samples")
        else:
            yield from _judged(snapshot, port, pps)


def _queues(snapshot: Snapshot, port: Interface) -> int:
    """Return the number of receive queues in use; 0 if unknown."""
    channels = card(snapshot, port.name).channels or {}
    enabled = channels.get("combined_count", 0) + channels.get("rx_count", 0)
    return enabled or len(port.rx_queues)


def _judged(snapshot: Snapshot, port: Interface, pps: float) -> Verdicts:
    masks = [queue.cpus for queue in port.rx_queues]
    if any(masks):
        return
    if not masks or None in masks:
        yield inconclusive(f"the queues of {port.name} or their RPS masks are unknown")
        return
    yield _finding(snapshot, port, pps, _softirq_percent(snapshot, port))


def _serving(snapshot: Snapshot, port: Interface) -> tuple[int, ...]:
    """Return the CPUs that take the interrupts of *port*, by rate or, if unknown, by affinity."""
    vectors = vectors_of(snapshot, port.name)
    loads = {cpu: n for v in vectors for cpu, n in (v.rates or {}).items() if n}
    if loads:
        return (max(loads, key=lambda cpu: loads[cpu]),)
    return tuple(sorted({cpu for v in vectors for cpu in v.cpus or ()}))


def _softirq_percent(snapshot: Snapshot, port: Interface) -> float | None:
    times = percents(snapshot) or {}
    known = [times[cpu]["softirq"] for cpu in _serving(snapshot, port) if times.get(cpu)]
    return max(known, default=None)


def _finding(snapshot: Snapshot, port: Interface, pps: float, busy: float | None) -> Finding:
    high = pps >= _HIGH_PPS or (busy is not None and busy >= _HIGH_PERCENT)
    low = Severity.MEDIUM if pps >= _QUIET_PPS else Severity.INFO
    spent = "" if busy is None else f", {busy:.0f} % busy with softirqs,"
    return Finding(
        subject=port.name,
        severity=Severity.HIGH if high else low,
        message=f"{port.name} receives {pps:,.0f} packets/s in one queue with RPS off, so one "
        f"CPU{spent} does all the work",
        evidence={
            "rx_packets_per_second": round(pps, 1),
            "serving_cpus": list(_serving(snapshot, port)),
            "softirq_percent": None if busy is None else round(busy, 1),
            "near_cpus": list(near(snapshot, port.name)),
        },
        fixes=(_more_cpus(snapshot, port), *paravirtual(snapshot, port.driver)),
    )


def _more_cpus(snapshot: Snapshot, port: Interface) -> Fix:
    close = near(snapshot, port.name)
    most = (card(snapshot, port.name).channels or {}).get("max_combined", 0)
    if most > 1 and snapshot.cpus is not None:
        queues = min(most, max(2, snapshot.cpus.cores(close)))
        row = CardValues(port.name, CHANNELS, {"combined_count": queues})
        title = f"Enable {queues} of the {most} queues of {port.name}"
        return commands(snapshot, "enable-queues", title, (row,), risk=Risk.DISRUPTIVE)
    serving = _serving(snapshot, port)
    others = tuple(cpu for cpu in close if cpu not in serving) or close
    title = "Let RPS spread packets over the other CPUs"
    return commands(snapshot, "enable-rps", title, (steer(port, "rx-0", others),))
