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
    one_sample,
)
from dirtune.checks.cpu import percents
from dirtune.checks.keepalived import WITHOUT, configured
from dirtune.collect.processes import Process
from dirtune.keepalived.model import Conf
from dirtune.snapshot import Snapshot

_SOFTIRQ_PERCENT = 60.0  # of a CPU
_REALTIME = frozenset({"fifo", "rr"})


@check(
    "keepalived/no-realtime",
    severity=Severity.MEDIUM,
    trust="B",
    needs=("stat",),
    roles=(Role.DIRECTOR,),
)
def no_realtime(snapshot: Snapshot, keepalived: Conf, processes: tuple[Process, ...]) -> Verdicts:
    """Keepalived competes with softirqs for a CPU, and has no real-time priority.

    ## What it does
    The check reports a director whose keepalived.conf(5) has a vrrp_instance, if no process of
    keepalived has a real-time policy and softirqs use 60 % or more of the CPU on which one of them
    last ran.

    ## Why it matters
    A backup takes over after three advertisements have failed to come, which is about 3 s unless
    `advert_int` is set. A master that waits for its CPU sends them late, so both directors are
    master for a moment, and connections are lost at the worst time.

    ## Remediation
    Write `vrrp_rt_priority 50` and `checker_rt_priority 50` into global_defs, and reload
    keepalived. Or keep keepalived on CPUs without NIC queues (`vrrp_cpu_affinity`).

    ## Known problems
    A softirq that runs in an interrupt delays even a real-time process; only ksoftirqd does not.

    ## References
    - keepalived.conf(5), `vrrp_rt_priority`, `vrrp_cpu_affinity`
    - RFC 5798, section 6.1, `Master_Down_Interval`
    """
    if not configured(keepalived):
        yield WITHOUT
        return
    mine = [process for process in processes if process.name.startswith("keepalived")]
    if not keepalived.instances or not mine:
        yield not_applicable("keepalived does not run VRRP here")
        return
    if any(process.policy in _REALTIME for process in mine):
        return
    if snapshot.earlier is None or not snapshot.seconds:
        yield one_sample()
        return
    shares = percents(snapshot)
    if not shares or all(process.cpu is None for process in mine):
        yield inconclusive("the load of keepalived's CPUs is unknown")
        return
    busy = {
        process.cpu: shares.get(process.cpu, {}).get("softirq", 0.0)
        for process in mine
        if process.cpu is not None
    }
    cpu = max(busy, key=lambda number: busy[number])
    if busy[cpu] >= _SOFTIRQ_PERCENT:
        yield _finding(keepalived, cpu, busy[cpu])


def _finding(conf: Conf, cpu: int, percent: float) -> Finding:
    title = "Set vrrp_rt_priority and checker_rt_priority in keepalived.conf"
    return Finding(
        f"CPU {cpu}",
        Severity.MEDIUM,
        f"Softirqs use {percent:.0f} % of CPU {cpu}, on which keepalived runs without a real-time "
        "priority",
        {
            "cpu": cpu,
            "softirq_percent": round(percent, 1),
            "advert_int_s": min((i.advert_s or 1.0 for i in conf.instances), default=1.0),
        },
        (Fix("keepalived-priority", title, Risk.SAFE),),
    )
