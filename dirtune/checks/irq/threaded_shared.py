from dirtune.checks import Finding, Fix, Severity, Verdicts, check, inconclusive
from dirtune.checks.irq import NicLine, realtime, shared_nic_lines
from dirtune.checks.remedies import boot
from dirtune.settings import BootOption
from dirtune.snapshot import Snapshot


@check("irq/threaded-shared", severity=Severity.MEDIUM, trust="A", needs=("interrupts",))
def threaded_shared(snapshot: Snapshot) -> Verdicts:
    """Every handler on a network card's shared line runs in a thread of its own.

    ## What it does
    Reports a line that a card shares with another device on a kernel that forces handlers into
    threads: booted with `threadirqs`, built with PREEMPT_RT, or showing threads `irq/N-NAME` for
    two or more of the line's handlers.

    ## Why it matters
    Every interrupt of the card wakes one real-time thread per handler, and the line stays masked
    until all have run. On some Intel chip sets a masked line makes the device interrupt again
    by another way, until the kernel disables it ("nobody cared").

    ## Remediation
    Let the card use MSI, or take it off the shared line as `irq/shared-with-nic` says; else boot
    without `threadirqs`, or with a kernel that is not PREEMPT_RT.

    ## References
    - Documentation/PCI/boot-interrupts.rst
    """
    option = "threadirqs" in (snapshot.cmdline or ())
    rt = realtime(snapshot)
    for shared in shared_nic_lines(snapshot):
        threads = _threads(snapshot, shared)
        if not (option or rt or len(threads) > 1):
            if snapshot.cmdline is None and snapshot.irq_threads is None:
                yield inconclusive("no command line and no threads to tell by")
            continue
        how = "threadirqs" if option else "PREEMPT_RT" if rt else "their threads"
        yield Finding(
            subject=shared.subject,
            severity=Severity.MEDIUM,
            message=f"each interrupt of {shared.cards[0].action} wakes {len(shared.line.actions)} "
            f"threads and masks the line until all have run ({how})",
            evidence=shared.evidence | {"threads": list(threads)},
            fixes=(_drop_threadirqs(),) if option else (),
        )


def _threads(snapshot: Snapshot, shared: NicLine) -> tuple[str, ...]:
    on_line = (t for t in snapshot.irq_threads or () if str(t.irq) == shared.line.irq)
    return tuple(f"irq/{thread.irq}-{thread.name}" for thread in on_line)


def _drop_threadirqs() -> Fix:
    return boot("drop-threadirqs", "Boot without threadirqs", BootOption("threadirqs"))
