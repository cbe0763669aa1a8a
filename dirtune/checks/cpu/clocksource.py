from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, inconclusive
from dirtune.checks.remedies import commands
from dirtune.collect import log_messages
from dirtune.collect.cpu_power import CpuPower
from dirtune.settings import KernelFile
from dirtune.snapshot import Snapshot

_SLOW = {"hpet", "acpi_pm"}
_STEADY = {"constant_tsc", "nonstop_tsc"}
_FILE = "/sys/devices/system/clocksource/clocksource0/current_clocksource"


@check("cpu/clocksource", severity=Severity.MEDIUM, trust="B")
def clocksource(snapshot: Snapshot, cpu_power: CpuPower) -> Verdicts:
    """The kernel reads the time from a slow device, not from the CPU.

    ## What it does
    The check reports as `medium` the clock source `hpet` or `acpi_pm`, if the CPU has a steady
    time-stamp counter (`constant_tsc` and `nonstop_tsc` in /proc/cpuinfo). It does not report
    clock sources of hypervisors and of other architectures.

    ## Why it matters
    The kernel reads the time for every packet that it stamps, and for timers. The time-stamp
    counter is part of the CPU; reading a device takes far longer.

    ## Remediation
    If `tsc` is in available_clocksource, write `tsc` into current_clocksource. If not, the kernel
    has marked the counter unstable, and the kernel log says why. The fault is often in the
    firmware.

    ## References
    - Documentation/ABI/testing/sysfs-devices-system-clocksource
    """
    if cpu_power.clocksource is None:
        yield inconclusive("the clock source is unknown")
    elif cpu_power.clocksource in _SLOW and (
        snapshot.cpuinfo is None or not snapshot.cpuinfo.flags
    ):
        yield inconclusive(
            "the CPU flags are unknown, so the time-stamp counter may not be steady"
        )
    elif cpu_power.clocksource in _SLOW and _steady(snapshot):
        yield _finding(snapshot, cpu_power.clocksource, cpu_power.clocksources)


def _steady(snapshot: Snapshot) -> bool:
    flags = (snapshot.cpuinfo and snapshot.cpuinfo.flags) or frozenset()
    return flags >= _STEADY


def _finding(snapshot: Snapshot, current: str, offered: tuple[str, ...]) -> Finding:
    why = [line.text for line in log_messages.CLOCK.lines(snapshot.kernel_log)]
    if "tsc" in offered:
        rows = (KernelFile(_FILE, "tsc"),)
        fix = commands(
            snapshot,
            "use-tsc",
            "Read the time from the CPU's time-stamp counter",
            rows,
            what="cpu",
        )
    else:
        title = "Find out why the kernel marked the time-stamp counter unstable"
        fix = Fix("find-tsc-fault", title, Risk.REBOOT)
    logged = f"; the kernel log says {why[0]!r}" if why else ""
    return Finding(
        subject=current,
        severity=Severity.MEDIUM,
        message=f"The kernel reads the time from {current}, although the CPU has a steady "
        f"time-stamp counter{logged}",
        evidence={"clocksource": current, "available": list(offered), "log": why[:3]},
        fixes=(fix,),
    )
