from dirtune.analyse import rates
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
from dirtune.checks.irq import realtime
from dirtune.checks.remedies import boot, gro_on
from dirtune.collect.processes import Process
from dirtune.settings import BootOption
from dirtune.snapshot import Snapshot

_PERCENT = 30.0  # of a CPU
_HIGH_PERCENT = 80.0
_TICKS_PER_SECOND = 100  # USER_HZ
# The threads and the boot option since Linux 6.10 (net/core/dev.c, backlog_threads).
_BACKLOG, _OPTION = "backlog_napi/", "thread_backlog_napi"


@check("softirq/ksoftirqd-busy", severity=Severity.HIGH, trust="A")
def ksoftirqd_busy(snapshot: Snapshot, processes: tuple[Process, ...]) -> Verdicts:
    """A kernel thread processes the softirqs and competes with programs for the CPU.

    ## What it does
    The check compares the CPU time of each `ksoftirqd/N` between two samples: 30 % of a CPU or
    more is `medium`, 80 % or more is `high`. If the kernel was booted with `thread_backlog_napi`,
    the packets that RPS steers to a CPU are processed by `backlog_napi/N`: 30 % or more is `low`.
    Kernels with PREEMPT_RT are not reported, because this is normal there. The threads of threaded
    NAPI (`napi/...`) do not count.

    ## Why it matters
    If softirqs are still pending after 2 ms or ten rounds, the kernel leaves them to this thread,
    which has the same priority (nice 0) as other programs. Packets then wait longer, and
    keepalived's advertisements may be late.

    ## Remediation
    Spread the load over more CPUs, turn generic receive offload on, coalesce interrupts, and give
    keepalived a real-time priority (`vrrp_rt_priority`, `checker_rt_priority`). Boot without
    `thread_backlog_napi` if the kernel is not PREEMPT_RT.

    ## References
    - kernel/softirq.c, `MAX_SOFTIRQ_TIME`, `MAX_SOFTIRQ_RESTART`
    - net/core/dev.c, `backlog_napi_should_run()`
    - keepalived.conf(5)
    """
    before = snapshot.earlier.processes if snapshot.earlier else None
    if before is None or not snapshot.seconds:
        yield one_sample()
        return
    rt = realtime(snapshot)
    if rt:
        yield not_applicable("this kernel has PREEMPT_RT, so softirqs always run in threads")
        return
    then = {p.pid: p.ticks for p in before if _of_softirqs(p)}
    for thread in filter(_of_softirqs, processes):
        ticks = rates.increase(then.get(thread.pid), thread.ticks)
        percent = 100 * (ticks or 0) / (_TICKS_PER_SECOND * snapshot.seconds)
        if percent >= _PERCENT and rt is None:
            yield inconclusive(
                "the kernel version is unknown, and a PREEMPT_RT kernel always runs softirqs in "
                "threads"
            )
        elif percent >= _PERCENT:
            yield _finding(snapshot, thread, percent)


def _of_softirqs(process: Process) -> bool:
    return process.kernel and process.name.startswith(("ksoftirqd/", _BACKLOG))


def _finding(snapshot: Snapshot, thread: Process, percent: float) -> Finding:
    return Finding(
        subject=f"CPU {thread.name.rpartition('/')[2]}",
        severity=_severity(thread, percent),
        message=f"{thread.name} uses {percent:.0f} % of its CPU, where it competes with programs",
        evidence={
            "thread": thread.name,
            "cpu_percent": round(percent, 1),
            "policy": thread.policy,
            "priority": thread.priority,
        },
        fixes=(
            *_gro(snapshot),
            *_keepalived(snapshot),
            *_in_softirqs(snapshot, thread),
            _spread(),
        ),
    )


def _severity(thread: Process, percent: float) -> Severity:
    if thread.name.startswith(_BACKLOG):  # as somebody ordered at boot
        return Severity.LOW
    return Severity.HIGH if percent >= _HIGH_PERCENT else Severity.MEDIUM


def _in_softirqs(snapshot: Snapshot, thread: Process) -> tuple[Fix, ...]:
    if not thread.name.startswith(_BACKLOG) or _OPTION not in (snapshot.cmdline or ()):
        return ()
    return (boot("drop-backlog-threads", f"Boot without {_OPTION}", BootOption(_OPTION)),)


def _spread() -> Fix:
    title = "Spread queues over more CPUs, or coalesce interrupts"
    return Fix("spread-load", title, Risk.DISRUPTIVE)


def _gro(snapshot: Snapshot) -> tuple[Fix, ...]:
    cards = {name: card.features or {} for name, card in (snapshot.ethtool or {}).items()}
    physical = {i.name for i in snapshot.interfaces or () if i.physical and i.up}
    off = [n for n, f in cards.items() if n in physical and "rx-gro" in f and not f["rx-gro"].on]
    if not off:
        return ()
    return (gro_on(snapshot, *off),)


def _keepalived(snapshot: Snapshot) -> tuple[Fix, ...]:
    running = [p for p in snapshot.processes or () if p.name == "keepalived"]
    if not running or any(p.policy in {"fifo", "rr"} for p in running):
        return ()
    title = "Set vrrp_rt_priority and checker_rt_priority in keepalived.conf"
    return (Fix("keepalived-priority", title, Risk.SAFE),)
