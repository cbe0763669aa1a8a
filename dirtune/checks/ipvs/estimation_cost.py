from collections.abc import Iterator

from dirtune.checks import (
    Finding,
    Fix,
    Risk,
    Role,
    Severity,
    Verdicts,
    check,
    inconclusive,
    uncounted,
)
from dirtune.checks.ipvs import thread_percents
from dirtune.checks.irq import nic_vectors
from dirtune.checks.remedies import sysctl
from dirtune.collect.processes import Process
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Snapshot

_MANY = 2_000  # services and destinations; an estimate, not calibrated
_MANY_READS = 100_000  # times possible CPUs; an estimate, not calibrated
_BUSY_PERCENT = 10  # of one CPU
_PRESENT_PERCENT = 1  # of one CPU, on a NIC's CPU; an estimate, not calibrated
_VS = "net/ipv4/vs/"


@check(
    "ipvs/estimation-cost",
    severity=Severity.HIGH,
    trust="A",
    needs=("services",),
    roles=(Role.DIRECTOR,),
)
def estimation_cost(snapshot: Snapshot, sysctls: Sysctls) -> Verdicts:
    """Estimating the rates of many services costs CPU time.

    ## What it does
    In a kernel without `est_cpulist`, one timer estimates all rates. The finding is `high` with
    2,000 services and destinations or more, or if their number times the number of possible CPUs
    is 100,000 or more. In a kernel with `est_cpulist`, threads estimate the rates. A thread that
    uses 10 % of a CPU, or 1 % of a CPU that serves a NIC, is `low`. If `run_estimation` is 0,
    nothing is reported.

    ## Why it matters
    Every 2 s, the timer reads the counters of every service and destination on every possible CPU.
    It runs in a softirq on one CPU, where packets wait for tens to hundreds of milliseconds
    meanwhile.

    ## Remediation
    If the kernel has estimation threads, keep them off the NICs' CPUs with `est_cpulist`, and set
    `est_nice=10`. Otherwise use a kernel with these threads, or set `run_estimation=0`, which
    freezes the counters and rates that ipvsadm, exporters and dirtune read. After `run_estimation`
    is set to 1 again, the first rates are wrong.

    ## Known problems
    The check does not measure how long the timer runs. Kernels without `run_estimation` cannot
    turn the estimation off.

    ## References
    - net/netfilter/ipvs/ip_vs_est.c, `estimation_timer()`, `ip_vs_estimation_kthread()`
    - Documentation/networking/ipvs-sysctl.rst
    """
    if sysctls.number(f"{_VS}run_estimation") == 0:
        return
    if not any(name.startswith(_VS) for name in sysctls.values):
        yield inconclusive("net.ipv4.vs could not be read")
    elif sysctls.text(f"{_VS}est_cpulist") is None:
        yield from _by_timer(snapshot, sysctls)
    else:
        yield from _by_threads(snapshot)


def _estimators(snapshot: Snapshot) -> int:
    services = snapshot.services or ()
    return len(services) + sum(len(service.destinations) for service in services)


def _by_timer(snapshot: Snapshot, sysctls: Sysctls) -> Iterator[Finding]:
    count = _estimators(snapshot)
    cpus = len(snapshot.cpus.possible or ()) if snapshot.cpus else 0
    if count < _MANY and count * cpus < _MANY_READS:
        return
    possible = f" on {cpus} possible CPUs" if cpus else ""
    yield Finding(
        subject="rate estimation",
        severity=Severity.HIGH,
        message=f"Every 2 s, a single timer estimates the rates of {count:,} services and "
        f"destinations{possible}",
        evidence={"estimators": count, "possible_cpus": cpus or None, "threads": False},
        fixes=_timer_fixes(snapshot, sysctls),
    )


def _timer_fixes(snapshot: Snapshot, sysctls: Sysctls) -> tuple[Fix, ...]:
    kernel = Fix(
        "newer-kernel", "Use a kernel that estimates rates in threads (est_cpulist)", Risk.REBOOT
    )
    if sysctls.number(f"{_VS}run_estimation") is None:
        return (kernel,)
    return (_off(snapshot), kernel)


def _off(snapshot: Snapshot) -> Fix:
    title = "Turn rate estimation off, which freezes the counters and rates that ipvsadm shows"
    return sysctl(snapshot, "stop-estimation", title, {f"{_VS}run_estimation": 0})


def _by_threads(snapshot: Snapshot) -> Verdicts:
    if snapshot.processes is None:
        yield inconclusive(
            "the running processes, which include the estimation threads, are unknown"
        )
        return
    cards = {cpu for vector in nic_vectors(snapshot) for cpu in vector.cpus or ()}
    for thread, percent in thread_percents(snapshot, ("ipvs-e:",)):
        if percent is None:
            yield uncounted(
                snapshot,
                f"the CPU time of {thread.name} is unknown: measuring it needs two samples",
            )
        elif percent >= _BUSY_PERCENT or (percent >= _PRESENT_PERCENT and thread.cpu in cards):
            yield _finding(snapshot, thread, percent, cards)


def _finding(snapshot: Snapshot, thread: Process, percent: float, cards: set[int]) -> Finding:
    where = f"CPU {thread.cpu}, which serves a NIC" if thread.cpu in cards else "a CPU"
    return Finding(
        subject=thread.name,
        severity=Severity.LOW,
        message=f"The estimation thread {thread.name} uses {percent:.0f} % of {where}",
        evidence={
            "thread": thread.name,
            "cpu_percent": round(percent, 1),
            "cpu": thread.cpu,
            "nic_cpus": sorted(cards),
            "estimators": _estimators(snapshot),
        },
        fixes=(*_moved(snapshot, cards), _off(snapshot)),
    )


def _moved(snapshot: Snapshot, cards: set[int]) -> tuple[Fix, ...]:
    usable = snapshot.cpus.usable if snapshot.cpus else ()
    free = [cpu for cpu in usable if cpu not in cards]
    if not free or not cards:
        return ()
    cpus = ",".join(str(cpu) for cpu in free)
    return (
        sysctl(
            snapshot,
            "move-estimation",
            "Keep the estimation threads off the NICs' CPUs",
            {f"{_VS}est_cpulist": cpus, f"{_VS}est_nice": 10},
        ),
    )
