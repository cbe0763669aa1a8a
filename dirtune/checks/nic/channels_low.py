from collections.abc import Mapping

from dirtune.checks import Finding, Risk, Severity, Verdicts, check, inconclusive, run
from dirtune.checks.counters import card
from dirtune.checks.cpu import percents
from dirtune.checks.irq import near
from dirtune.checks.nic import ports, serving
from dirtune.checks.nic.single_queue import single_queue
from dirtune.checks.once import once
from dirtune.checks.remedies import commands
from dirtune.collect.cpus import Cpus
from dirtune.collect.net import Interface
from dirtune.settings import CHANNELS, CardValues
from dirtune.snapshot import Snapshot

_HOT_PERCENT = 70.0  # of a serving CPU, in interrupts and softirqs
_LIMIT = 32  # queues, where vendors advise so: on AMD, and for NICs of mlx5


@check(
    "nic/channels-low",
    severity=Severity.MEDIUM,
    trust="B",
    needs=("interfaces", "ethtool", "stat"),
    traffic=True,
)
def channels_low(snapshot: Snapshot, cpus: Cpus) -> Verdicts:
    """A NIC has fewer queues enabled than it could use, and a CPU that serves them is busy.

    ## What it does
    The check examines NICs with fewer channels (`ethtool -l`) than the NIC's maximum and than the
    physical cores near the NIC. It reports such a NIC if a CPU that takes its interrupts spends
    70 % of its time or more in interrupts and softirqs. If the CPUs are not busy, a few queues
    are the most efficient setting. On AMD and for mlx5 NICs the check asks for at most 32 queues,
    as the vendors advise.

    ## Why it matters
    Disabled queues cannot relieve the busy queues.

    ## Remediation
    Run `ethtool -L IF combined N`, where N is the number of cores near the NIC. Traffic stops for
    a moment, so start with the backup director. The command resets the RSS table and the interrupt
    affinities, so set both again. Keep the setting with a udev rule.

    ## Known problems
    With threaded NAPI, the work is not done in softirqs, so the check does not see it. Among mlx5
    NICs, the limit of 32 applies to ConnectX-4 Lx, which the check cannot distinguish from other
    mlx5 NICs.

    ## References
    - Documentation/networking/scaling.rst, "Suggested Configuration" of RSS
    """
    times = percents(snapshot)
    if not times:
        yield inconclusive("CPUs came online or went offline between the samples")
        return
    for port in ports(snapshot):
        channels = card(snapshot, port.name).channels or {}
        kind, now, most = _channels(channels)
        useful = min(most, _cores(snapshot, cpus, port))
        if not now or now >= useful:
            continue
        busy = serving(snapshot, port.name)
        if not busy:
            yield inconclusive(f"the CPUs that serve the queues of {port.name} are unknown")
        work = {cpu: _interrupted(times.get(cpu, {})) for cpu in busy}
        hot = {cpu: percent for cpu, percent in work.items() if percent >= _HOT_PERCENT}
        if hot:
            yield _finding(snapshot, port, (kind, now, useful), hot)


@once
def _with_one_queue(snapshot: Snapshot) -> frozenset[str]:
    """Return the interfaces that nic/single-queue reports."""
    return frozenset(finding.subject for finding in run((single_queue,), snapshot)[0].findings)


def _channels(channels: Mapping[str, int]) -> tuple[str, int, int]:
    """Return the kind of the receiving channels, the number enabled, and the maximum."""
    if channels.get("combined_count"):
        return "combined", channels["combined_count"], channels.get("max_combined", 0)
    return "rx", channels.get("rx_count", 0), channels.get("max_rx", 0)


def _cores(snapshot: Snapshot, cpus: Cpus, port: Interface) -> int:
    cores = cpus.cores(near(snapshot, port.name))
    model = (snapshot.cpuinfo and snapshot.cpuinfo.model) or ""
    limited = model.startswith("AMD") or port.driver == "mlx5_core"
    return min(cores, _LIMIT) if limited else cores


def _interrupted(times: Mapping[str, float]) -> float:
    return times.get("irq", 0.0) + times.get("softirq", 0.0)


def _finding(
    snapshot: Snapshot, port: Interface, channels: tuple[str, int, int], hot: Mapping[int, float]
) -> Finding:
    kind, now, useful = channels
    top = max(hot, key=lambda cpu: hot[cpu])
    row = CardValues(port.name, CHANNELS, {f"{kind}_count": useful})
    title = (
        f"Enable {useful} queues, which stops traffic for a moment and resets the RSS table and "
        "the interrupt affinities"
    )
    one = port.name in _with_one_queue(snapshot)
    return Finding(
        subject=port.name,
        severity=Severity.MEDIUM,
        message=f"{port.name} uses {now} of the {useful} queues it could use, and CPU {top}, "
        f"which serves them, spends {hot[top]:.0f} % of its time in interrupts and "
        "softirqs",
        evidence={
            "channels": now,
            "useful_channels": useful,
            "hot_percent": {str(cpu): round(percent, 1) for cpu, percent in hot.items()},
        },
        fixes=(commands(snapshot, "enable-queues", title, (row,), risk=Risk.DISRUPTIVE),),
        cause="nic/single-queue" if one else None,
    )
