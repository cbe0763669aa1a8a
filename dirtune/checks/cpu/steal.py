from dirtune.checks import (
    Finding,
    Fix,
    Risk,
    Severity,
    Verdicts,
    check,
    inconclusive,
    not_applicable,
    one_sample,
)
from dirtune.checks.cpu import guest, on_cards, percents
from dirtune.checks.irq import named_cpus
from dirtune.checks.together import subjects
from dirtune.collect.stat import Stat
from dirtune.snapshot import Snapshot

# Percentages of a CPU's time; estimates, not calibrated.
_HIGH_PERCENT, _CRITICAL_PERCENT = 5.0, 15.0


@check("cpu/steal", severity=Severity.HIGH, trust="B")
def steal(snapshot: Snapshot, stat: Stat) -> Verdicts:
    """The hypervisor takes time from CPUs that serve NICs.

    ## What it does
    The check examines the CPUs of a guest that take NICs' interrupts, or all CPUs if these are
    unknown. It reports CPUs that lost 5 % of their time or more to the hypervisor between two
    samples. The finding is `critical` at 15 % or more, else `high`.

    ## Why it matters
    While a virtual CPU does not run, it cannot empty the NIC's ring. Bursts are lost although the
    average load looks moderate.

    ## Remediation
    On the hypervisor, give the guest CPUs of its own or pin its virtual CPUs.

    ## Known problems
    Not every hypervisor reports stolen time, so a value of 0 proves nothing.

    ## References
    - proc(5), /proc/stat
    """
    if guest(snapshot) is False:
        yield not_applicable("this host is not a guest")
        return
    shares = percents(snapshot)
    if not shares:
        yield one_sample()
        return
    if all(times.steal is None for times in stat.cpus):
        yield inconclusive("this kernel does not count stolen time")
        return
    lost = {cpu: shares[cpu].get("steal", 0.0) for cpu in on_cards(snapshot, shares)}
    over = {cpu: percent for cpu, percent in lost.items() if percent >= _HIGH_PERCENT}
    if over:
        worst = max(over.values())
        title = "On the hypervisor, give the guest CPUs of its own or pin its virtual CPUs"
        yield Finding(
            subject=f"CPU {subjects(over)}",
            severity=Severity.CRITICAL if worst >= _CRITICAL_PERCENT else Severity.HIGH,
            message=f"{named_cpus(over)} {'loses' if len(over) == 1 else 'lose'} up to "
            f"{worst:.0f} % of {'its' if len(over) == 1 else 'their'} time to the "
            "hypervisor",
            evidence={"steal_percent": {str(cpu): round(p, 1) for cpu, p in over.items()}},
            fixes=(Fix("dedicate-cpus", title, Risk.DISRUPTIVE),),
        )
