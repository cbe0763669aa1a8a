from dirtune.checks import Finding, Fix, Severity, Verdicts, check, inconclusive
from dirtune.checks.irq import realtime
from dirtune.checks.irq.legacy_lines import NicLine, shared_nic_lines
from dirtune.checks.remedies import boot
from dirtune.settings import BootOption
from dirtune.snapshot import Snapshot


@check("irq/threaded-shared", severity=Severity.MEDIUM, trust="A", needs=("interrupts",))
def threaded_shared(snapshot: Snapshot) -> Verdicts:
    """Every handler on a NIC's shared line runs in its own thread.

    ## What it does
    The check reports a line that a NIC shares with another device, if the kernel runs handlers in
    threads. It recognises such a kernel by `threadirqs` on the command line, by PREEMPT_RT, or by
    threads `irq/N-NAME` for two or more of the line's handlers.

    ## Why it matters
    Every interrupt of the NIC wakes one real-time thread per handler, and the line stays masked
    until all threads have run. On some Intel chip sets, a device on a masked line interrupts again
    over another line, until the kernel disables that line ("nobody cared").

    ## Remediation
    Let the NIC use MSI, or move it to another line as `irq/shared-with-nic` describes. Otherwise
    boot without `threadirqs`, or with a kernel that is not PREEMPT_RT.

    ## References
    - Documentation/PCI/boot-interrupts.rst
    """
    option = "threadirqs" in (snapshot.cmdline or ())
    rt = realtime(snapshot)
    for shared in shared_nic_lines(snapshot):
        threads = _threads(snapshot, shared)
        if not (option or rt or len(threads) > 1):
            if snapshot.cmdline is None and snapshot.irq_threads is None:
                yield inconclusive(
                    "neither the kernel command line nor the interrupt threads are known"
                )
            continue
        how = (
            "the kernel was booted with threadirqs"
            if option
            else "the kernel is built with PREEMPT_RT"
            if rt
            else "each handler has its own thread"
        )
        yield Finding(
            subject=shared.subject,
            severity=Severity.MEDIUM,
            message=f"Each interrupt of {shared.cards[0].action} wakes {len(shared.line.actions)} "
            f"threads and masks {shared.subject} until all threads have run, because {how}",
            evidence=shared.evidence | {"threads": list(threads)},
            fixes=(_drop_threadirqs(),) if option else (),
        )


def _threads(snapshot: Snapshot, shared: NicLine) -> tuple[str, ...]:
    on_line = (t for t in snapshot.irq_threads or () if str(t.irq) == shared.line.irq)
    return tuple(f"irq/{thread.irq}-{thread.name}" for thread in on_line)


def _drop_threadirqs() -> Fix:
    return boot("drop-threadirqs", "Boot without threadirqs", BootOption("threadirqs"))
