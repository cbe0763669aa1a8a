from dirtune.analyse import rates
from dirtune.checks import (
    Finding,
    Fix,
    Risk,
    Severity,
    Verdicts,
    check,
    not_applicable,
    one_sample,
)
from dirtune.checks.cpu import guest
from dirtune.checks.irq import named_cpus
from dirtune.checks.together import subjects
from dirtune.collect.cpu_power import CpuPower
from dirtune.snapshot import Snapshot


@check("cpu/throttled", severity=Severity.HIGH, trust="B")
def throttled(snapshot: Snapshot, cpu_power: CpuPower) -> Verdicts:
    """CPUs are throttled because of heat or power.

    ## What it does
    The check reports as `high` CPUs whose core_throttle_count or package_throttle_count rose
    between two samples. Guests and hosts without these counters, which only x86 has, are not
    reported.

    ## Why it matters
    A hot package slows all its cores, so capacity drops although no configuration changed.

    ## Remediation
    Repair the cooling, and check the power limit in the server's management controller.

    ## References
    - Documentation/ABI/testing/sysfs-devices-system-cpu, thermal_throttle
    """
    if guest(snapshot):
        yield not_applicable("this host is a guest, and only the hypervisor counts throttling")
        return
    if not cpu_power.throttled:
        yield not_applicable("this host lacks the counters of CPU throttling")
        return
    before = snapshot.earlier.cpu_power if snapshot.earlier else None
    if before is None:
        yield one_sample()
        return
    risen = {
        cpu: rates.increase(before.throttled.get(cpu), n) for cpu, n in cpu_power.throttled.items()
    }
    slowed = {cpu: n for cpu, n in risen.items() if n}
    if slowed:
        title = (
            "Repair the cooling, or raise the power limit in the server's management controller"
        )
        yield Finding(
            subject=f"CPU {subjects(sorted(slowed))}",
            severity=Severity.HIGH,
            message=f"{named_cpus(sorted(slowed))} {'was' if len(slowed) == 1 else 'were'} "
            f"throttled, each at most {max(slowed.values())} times, between the samples",
            evidence={"throttled": {str(cpu): n for cpu, n in sorted(slowed.items())}},
            fixes=(Fix("cool-down", title, Risk.SAFE),),
        )
