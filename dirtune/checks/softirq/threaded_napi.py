import re
from collections.abc import Iterator

from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, inconclusive
from dirtune.checks.irq import card
from dirtune.checks.remedies import commands
from dirtune.checks.together import listed
from dirtune.collect.net import Interface
from dirtune.collect.processes import Process
from dirtune.settings import KernelFile
from dirtune.snapshot import Snapshot

# The part of a thread's name that follows the interface.
_NUMBER = re.compile(r"(?:-\d*)?")


@check("softirq/threaded-napi", severity=Severity.LOW, trust="B")
def threaded_napi(snapshot: Snapshot, interfaces: tuple[Interface, ...]) -> Verdicts:
    """Threads that poll a NIC move between CPUs, or run far from the NIC.

    ## What it does
    If an interface's `threaded` is 1, or is unknown but its threads exist, the check reports
    threads `napi/INTERFACE-N` that ran on different CPUs in the two samples, or on a CPU that is
    not near the NIC. The finding is `low`. If the threads poll continuously (busy poll, since
    Linux 6.19), the check reports threads that ran on one CPU in the last sample, as `medium`.

    ## Why it matters
    A thread that moves loses the caches that hold packets and the connection table, and may end up
    far from the memory of the NIC's ring. A thread that polls continuously takes a whole CPU, so
    two of them on one CPU each get half of the CPU's time, and wait for each other.

    ## Remediation
    Pin each thread to the CPU that takes its queue's interrupts (`taskset -cp CPU PID`), or write
    0 into the interface's `threaded`.

    ## Known problems
    If the kernel does not tell which threads poll a NIC (netdev netlink), their names decide. The
    check does not read the affinity of threads. A thread that stayed on one CPU may or may not
    be pinned, so the check is then inconclusive.

    ## References
    - Documentation/networking/napi.rst
    - net/core/dev.c, `napi_threaded_poll_loop()`
    """
    threaded = [i for i in interfaces if i.threaded or _has_threads(snapshot, i)]
    if threaded and snapshot.processes is None:
        yield inconclusive("the running processes, which include the polling threads, are unknown")
        return
    yield from _crowded(snapshot)
    for interface in threaded:
        threads = [p for p in snapshot.processes or () if _polls(snapshot, p, interface)]
        astray = [p for p in threads if _wandered(snapshot, p) or _far(snapshot, p, interface)]
        if astray:
            yield _finding(snapshot, interface, threads, astray)
        elif threads:
            yield inconclusive(
                f"the affinity of the threads that poll {interface.name} is unknown, so they "
                "may not be pinned"
            )


def _crowded(snapshot: Snapshot) -> Iterator[Finding]:
    """Yield a finding for each CPU on which several threads poll continuously."""
    napis = snapshot.netdev.napis if snapshot.netdev else ()
    pids = {n.pid for n in napis if n.busy_polls and n.pid is not None}
    by_cpu: dict[int, list[Process]] = {}
    for thread in snapshot.processes or ():
        if thread.pid in pids and thread.cpu is not None:
            by_cpu.setdefault(thread.cpu, []).append(thread)
    for cpu, threads in sorted(by_cpu.items()):
        if len(threads) > 1:
            yield Finding(
                subject=f"CPU {cpu}",
                severity=Severity.MEDIUM,
                message=f"{listed(t.name for t in threads)} poll continuously on CPU {cpu}, so "
                "each of them gets only a part of the CPU's time",
                evidence={"cpu": cpu, "pids": [thread.pid for thread in threads]},
                fixes=(
                    Fix(
                        "pin-threads",
                        "Pin each thread to a CPU of its own: taskset -cp CPU PID",
                        Risk.SAFE,
                    ),
                ),
            )


def _has_threads(snapshot: Snapshot, interface: Interface) -> bool:
    """Whether threads poll an interface whose `threaded` is not known, as in a sosreport."""
    known = snapshot.processes or ()
    return interface.threaded is None and any(_polls(snapshot, p, interface) for p in known)


def _polls(snapshot: Snapshot, process: Process, interface: Interface) -> bool:
    napis = snapshot.netdev.napis if snapshot.netdev else ()
    pids = {n.pid for n in napis if n.ifindex == interface.ifindex and n.pid is not None}
    if pids:
        return process.pid in pids
    # The name is cut to 15 characters.
    name = f"napi/{interface.name}"[:14]
    rest = process.name[len(name) :]
    return process.kernel and process.name.startswith(name) and bool(_NUMBER.fullmatch(rest))


def _wandered(snapshot: Snapshot, thread: Process) -> bool:
    before = (snapshot.earlier.processes if snapshot.earlier else None) or ()
    then = next((p.cpu for p in before if p.pid == thread.pid), None)
    return then is not None and thread.cpu is not None and then != thread.cpu


def _far(snapshot: Snapshot, thread: Process, interface: Interface) -> bool:
    device = card(snapshot, interface.name)
    if device is None or device.numa_node is None or thread.cpu is None:
        return False
    return bool(device.local_cpus) and thread.cpu not in device.local_cpus


def _finding(
    snapshot: Snapshot, interface: Interface, threads: list[Process], astray: list[Process]
) -> Finding:
    rows = (KernelFile(f"/sys/class/net/{interface.name}/threaded", "0"),)
    pin = Fix(
        "pin-threads",
        "Pin each thread to the CPU of its queue's interrupts: taskset -cp CPU PID",
        Risk.SAFE,
    )
    return Finding(
        subject=interface.name,
        severity=Severity.LOW,
        message=f"{len(astray)} of the {len(threads)} threads that poll {interface.name} moved "
        "to another CPU or run far from the NIC",
        evidence={
            "threads": {p.name: p.cpu for p in threads},
            "pids": [p.pid for p in astray],
        },
        fixes=(
            pin,
            commands(snapshot, "napi-in-softirq", "Poll in softirqs instead of threads", rows),
        ),
    )
