from collections.abc import Mapping

from dirtune.analyse import rates
from dirtune.checks import (
    Finding,
    Fix,
    Risk,
    Role,
    Severity,
    Verdicts,
    check,
    inconclusive,
    not_applicable,
)
from dirtune.checks.cpu import percents
from dirtune.checks.ipvs import forwarding
from dirtune.checks.irq import nic_cpus
from dirtune.checks.together import listed
from dirtune.collect.ip_vs import Forward
from dirtune.collect.processes import Process
from dirtune.snapshot import Snapshot

_SOFTIRQ_PERCENT, _USER_PERCENT = 40.0, 30.0
_REALTIME = {"fifo", "rr", "deadline"}
_MEANT = ("keepalived", "irqbalance")
_NAMED = 3  # programs in the evidence


@check(
    "cpu/contended",
    severity=Severity.INFO,
    trust="C",
    needs=("stat", "interrupts"),
    roles=(Role.DIRECTOR,),
    traffic=True,
)
def contended(snapshot: Snapshot) -> Verdicts:
    """Programs compete for the CPUs that serve the director's NICs.

    ## What it does
    The check examines the CPUs that take NICs' interrupts. It reports a CPU that spends 40 % of
    its time or more in softirqs and 30 % or more in programs. It also reports programs with a
    real-time policy that ran on these CPUs between two samples, except keepalived and kernel
    threads, which may run there. The finding is `info`, because the thresholds are a rule of
    thumb. A director that also serves connections itself is not reported.

    ## Why it matters
    Softirqs interrupt programs, but ksoftirqd and keepalived must wait while programs run. Health
    checks then time out, and VRRP may fail over.

    ## Remediation
    Keep programs off these CPUs with a cpuset or taskset, and set `vrrp_rt_priority` and
    `vrrp_cpu_affinity` in keepalived.conf.

    ## Known problems
    The check knows only the CPU on which a program's first thread last ran, and assumes that the
    program always ran there.

    ## References
    - keepalived.conf(5)
    """
    if Forward.LOCAL in forwarding(snapshot):
        yield not_applicable(
            "this director also serves connections as a real server, so programs must share its "
            "CPUs"
        )
        return
    cpus, shares = nic_cpus(snapshot), percents(snapshot)
    if cpus is None or not shares:
        yield inconclusive("the CPUs that serve NICs, or the load of these CPUs, are unknown")
        return
    if snapshot.processes is None:
        yield inconclusive("the running programs are unknown")
    for cpu in cpus:
        yield from _judge(snapshot, cpu, shares.get(cpu, {}))


def _judge(snapshot: Snapshot, cpu: int, share: Mapping[str, float]) -> Verdicts:
    ran = _ran(snapshot, cpu)
    user = share.get("user", 0.0) + share.get("nice", 0.0)
    softirq = share.get("softirq", 0.0)
    urgent = [p.name for p in ran if p.policy in _REALTIME and not p.name.startswith(_MEANT)]
    if softirq >= _SOFTIRQ_PERCENT and user >= _USER_PERCENT:
        message = (
            f"Programs use {user:.0f} % of CPU {cpu}, in addition to the {softirq:.0f} % that "
            "softirqs use"
        )
    elif urgent:
        message = (
            f"CPU {cpu}, which serves a NIC, also ran {listed(urgent)} with a real-time policy"
        )
    else:
        return
    keepalived = _keepalived(snapshot)
    title = f"Keep programs off CPU {cpu} with a cpuset" + (
        ", and set vrrp_cpu_affinity in keepalived.conf" if keepalived else ""
    )
    yield Finding(
        subject=f"CPU {cpu}",
        severity=Severity.INFO,
        message=message,
        evidence={
            "cpu": cpu,
            "softirq_percent": round(softirq, 1),
            "user_percent": round(user, 1),
            "programs": [p.name for p in ran[:_NAMED]],
            "realtime": urgent,
            "keepalived": keepalived,
        },
        fixes=(Fix("keep-programs-off", title, Risk.SAFE),),
    )


def _ran(snapshot: Snapshot, cpu: int) -> list[Process]:
    """Return the programs that used CPU time and last ran on *cpu*, the busiest first."""
    before = (snapshot.earlier.processes if snapshot.earlier else None) or ()
    then = {p.pid: p.ticks for p in before}
    used = {
        p: rates.increase(then.get(p.pid), p.ticks) or 0
        for p in snapshot.processes or ()
        if p.cpu == cpu and not p.kernel
    }
    return sorted((p for p, n in used.items() if n), key=lambda p: -used[p])


def _keepalived(snapshot: Snapshot) -> list[str]:
    names = (p for p in snapshot.processes or () if p.name == "keepalived")
    return sorted({p.policy for p in names})
