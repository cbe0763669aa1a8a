from dirtune.checks import (
    Finding,
    Fix,
    Severity,
    Verdicts,
    check,
    inconclusive,
    not_applicable,
)
from dirtune.checks.cpu import guest, on_cards, percents, tuned_profile
from dirtune.checks.irq import named_cpus
from dirtune.checks.remedies import commands
from dirtune.checks.together import listed, subjects
from dirtune.collect.cpu_power import CpuPower
from dirtune.settings import KernelFile
from dirtune.snapshot import Snapshot

# Drivers that choose the clock themselves; their powersave does not mean the lowest clock.
_ACTIVE = {"intel_pstate", "amd-pstate-epp", "amd_pstate_epp"}
_SAVING = {"powersave", "ondemand", "conservative", "schedutil"}
_FAST = "performance"
_BUSY_PERCENT = 60.0


@check("cpu/governor", severity=Severity.MEDIUM, trust="B")
def governor(snapshot: Snapshot, cpu_power: CpuPower) -> Verdicts:
    """The clock speed of CPUs that serve NICs follows the load.

    ## What it does
    The check examines the CPUs that take NICs' interrupts, or all CPUs if these are unknown. It
    reports the governors powersave, ondemand, conservative and schedutil as `medium`. With the
    drivers intel_pstate and amd-pstate in active mode, powersave does not mean a low clock speed.
    The finding is then `low`, and only reported if the energy-performance preference is not
    `performance` and the CPU is busy for less than 60 % of its time. Guests and hosts without
    cpufreq are not reported.

    ## Why it matters
    A governor samples the load, and may take a CPU that works in short bursts of interrupts for
    idle. The CPU then forwards packets at a low clock speed.

    ## Remediation
    Run `tuned-adm profile network-latency` (or throughput-performance), or write `performance`
    into scaling_governor. Both use more power.

    ## References
    - Documentation/admin-guide/pm/cpufreq.rst, intel_pstate.rst
    - tuned, profile throughput-performance
    """
    if guest(snapshot):
        yield not_applicable("this host is a guest, and the hypervisor controls the CPU clock")
        return
    if not cpu_power.governors:
        yield not_applicable("this host has no cpufreq driver")
        return
    slow = [
        c for c in on_cards(snapshot, cpu_power.governors) if cpu_power.governors[c] in _SAVING
    ]
    if cpu_power.driver not in _ACTIVE:
        if slow:
            yield _finding(snapshot, cpu_power, slow, Severity.MEDIUM)
        return
    eager = [c for c in slow if cpu_power.preferences.get(c) != _FAST]
    busy = percents(snapshot)
    if eager and (not busy or any(c not in cpu_power.preferences for c in eager)):
        yield inconclusive("the energy-performance preference or the load of the CPUs is unknown")
        return
    quiet = [c for c in eager if (busy or {}).get(c, {}).get("busy", 100.0) < _BUSY_PERCENT]
    if quiet:
        yield _finding(snapshot, cpu_power, quiet, Severity.LOW)


def _finding(snapshot: Snapshot, power: CpuPower, cpus: list[int], severity: Severity) -> Finding:
    names = sorted({power.governors[cpu] for cpu in cpus})
    preferences = sorted({power.preferences[c] for c in cpus if c in power.preferences})
    prefer = f" with the preference {listed(preferences)}" if preferences else ""
    return Finding(
        subject=f"CPU {subjects(cpus)}",
        severity=severity,
        message=f"{named_cpus(cpus)} {'uses' if len(cpus) == 1 else 'use'} the governor "
        f"{listed(names)} of {power.driver}{prefer}, so the clock speed follows the load",
        evidence={
            "cpus": cpus,
            "governors": names,
            "driver": power.driver,
            "preferences": preferences,
        },
        fixes=(*tuned_profile(snapshot), _performance(snapshot, cpus)),
    )


def _performance(snapshot: Snapshot, cpus: list[int]) -> Fix:
    at = "/sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor"
    rows = (KernelFile(at.format(cpu), _FAST) for cpu in cpus)
    title = "Set the governor of these CPUs to performance"
    return commands(snapshot, "governor-performance", title, rows, what="cpu")
