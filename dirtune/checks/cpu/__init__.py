"""Checks of CPUs, and the helper functions that they share."""

from collections.abc import Iterable, Mapping

from dirtune.analyse import rates
from dirtune.checks import Fix, Risk
from dirtune.checks.irq import nic_cpus
from dirtune.competitors import competitors
from dirtune.snapshot import Snapshot


def percents(snapshot: Snapshot) -> Mapping[int, Mapping[str, float]] | None:
    """Return each CPU's times in /proc/stat as percentages; None without two samples."""
    return rates.cpu_percent(snapshot.earlier.stat if snapshot.earlier else None, snapshot.stat)


def on_cards(snapshot: Snapshot, cpus: Iterable[int]) -> tuple[int, ...]:
    """Return the CPUs in *cpus* that take NICs' interrupts; all of *cpus* if this is unknown."""
    known = nic_cpus(snapshot)
    return tuple(sorted(cpu for cpu in cpus if known is None or cpu in known))


def guest(snapshot: Snapshot) -> bool | None:
    """Whether the host is a virtual machine; None if unknown."""
    return snapshot.cpuinfo.guest if snapshot.cpuinfo else None


def tuned_profile(snapshot: Snapshot) -> tuple[Fix, ...]:
    """Return the fix that selects the tuned profile network-latency; empty without tuned."""
    if not any(name.startswith("tuned") for name in competitors(snapshot, "cpu")):
        return ()
    rows = ("tuned-adm profile network-latency",)
    title = "Switch tuned to its profile network-latency"
    return (Fix("tuned-profile", title, Risk.SAFE, rows),)
