from collections.abc import Iterator

from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, inconclusive
from dirtune.checks.ipvs import thread_percents
from dirtune.checks.irq import nic_vectors
from dirtune.checks.remedies import sysctl
from dirtune.collect.processes import Process
from dirtune.snapshot import Snapshot

_MANY = 2_000  # services and destinations; an estimate, not calibrated
_MANY_READS = 100_000  # times possible CPUs; an estimate, not calibrated
_BUSY_PERCENT = 10  # of one CPU
_PRESENT_PERCENT = 1  # of one CPU, on a card's CPU; an estimate, not calibrated
_VS = "net/ipv4/vs/"


@check(
    "ipvs/estimation-cost",
    severity=Severity.HIGH,
    trust="A",
    needs=("services", "sysctls"),
    roles=("director",),
)
def estimation_cost(snapshot: Snapshot) -> Verdicts:
    """Estimating the rates of many services burns CPU.

    ## What it does
    In a kernel without `est_cpulist` one timer estimates: 2,000 services and destinations, or
    100,000 of them times possible CPUs, are `high`. In a kernel with it threads estimate: one
    that takes 10 % of a CPU, or 1 % on a CPU that serves a network card, is `low`. With
    `run_estimation` at 0 nothing is reported.

    ## Why it matters
    Before threads did it, a timer walked every estimator times every possible CPU each 2 s, in
    a softirq on one CPU: packets of that CPU wait for tens to hundreds of milliseconds.

    ## Remediation
    With threads: keep them off the cards' CPUs with `est_cpulist`, and `est_nice=10`. Without:
    a kernel that has them, or `run_estimation=0`, which freezes the counters and rates of
    ipvsadm, of exporters and of dirtune itself; the first rates after switching it on again are
    wrong.

    ## Known problems
    The time of one run of the timer is not measured. Kernels before `run_estimation` cannot
    switch the estimation off.

    ## References
    - net/netfilter/ipvs/ip_vs_est.c, `estimation_timer()`, `ip_vs_estimation_kthread()`
    - Documentation/networking/ipvs-sysctl.rst
    """
    assert snapshot.sysctls is not None
    if snapshot.sysctls.number(f"{_VS}run_estimation") == 0:
        return
    if not any(name.startswith(_VS) for name in snapshot.sysctls.values):
        yield inconclusive("net.ipv4.vs could not be read")
    elif snapshot.sysctls.text(f"{_VS}est_cpulist") is None:
        yield from _by_timer(snapshot)
    else:
        yield from _by_threads(snapshot)


def _estimators(snapshot: Snapshot) -> int:
    services = snapshot.services or ()
    return len(services) + sum(len(service.destinations) for service in services)


def _by_timer(snapshot: Snapshot) -> Iterator[Finding]:
    count = _estimators(snapshot)
    cpus = len(snapshot.cpus.possible or ()) if snapshot.cpus else 0
    if count < _MANY and count * cpus < _MANY_READS:
        return
    times = f" on {cpus} possible CPUs" if cpus else ""
    yield Finding(
        subject="rate estimation",
        severity=Severity.HIGH,
        message=f"one timer estimates {count:,} services and destinations{times} every 2 s",
        evidence={"estimators": count, "possible_cpus": cpus or None, "threads": False},
        fixes=_timer_fixes(snapshot),
    )


def _timer_fixes(snapshot: Snapshot) -> tuple[Fix, ...]:
    assert snapshot.sysctls is not None
    kernel = Fix(
        "newer-kernel", "Take a kernel that estimates in threads (est_cpulist)", Risk.REBOOT
    )
    if snapshot.sysctls.number(f"{_VS}run_estimation") is None:
        return (kernel,)
    return (_off(snapshot), kernel)


def _off(snapshot: Snapshot) -> Fix:
    title = "Switch the estimation off; its counters and rates freeze"
    return sysctl(snapshot, "stop-estimation", title, {f"{_VS}run_estimation": 0})


def _by_threads(snapshot: Snapshot) -> Verdicts:
    if snapshot.processes is None:
        yield inconclusive("the estimation's threads are not known: no processes in the record")
        return
    cards = {cpu for vector in nic_vectors(snapshot) for cpu in vector.cpus or ()}
    for thread, percent in thread_percents(snapshot, ("ipvs-e:",)):
        if percent is None:
            yield inconclusive(f"the time of {thread.name} takes two samples")
        elif percent >= _BUSY_PERCENT or (percent >= _PRESENT_PERCENT and thread.cpu in cards):
            yield _finding(snapshot, thread, percent, cards)


def _finding(snapshot: Snapshot, thread: Process, percent: float, cards: set[int]) -> Finding:
    where = f", on CPU {thread.cpu} that serves a network card" if thread.cpu in cards else ""
    return Finding(
        subject=thread.name,
        severity=Severity.LOW,
        message=f"takes {percent:.0f} % of a CPU{where}",
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
            "Keep the estimation's threads off the network cards' CPUs",
            {f"{_VS}est_cpulist": cpus, f"{_VS}est_nice": 10},
        ),
    )
