from dirtune.analyse.probed import LockWindow, SoftirqWindow
from dirtune.checks import (
    Cause,
    Finding,
    Fix,
    Risk,
    Role,
    Severity,
    Undecided,
    Verdicts,
    check,
    inconclusive,
    not_applicable,
)
from dirtune.checks.ipvs import per_second
from dirtune.checks.lock import Waiting, notable
from dirtune.snapshot import Snapshot

_LOCKS = "__ip_vs_conntbl_lock_array"
_PER_BUCKET = "net/ipv4/vs/conn_lfactor"  # a setting of the kernels that have no such array
_HIGH_PERCENT = 5.0  # of softirq time; an estimate, not calibrated
_MANY_PER_SECOND = 20_000  # new connections; an estimate, not calibrated


@check(
    "lock/ipvs-conn-table",
    severity=Severity.HIGH,
    trust="A",
    roles=(Role.DIRECTOR,),
)
def ipvs_conn_table(
    snapshot: Snapshot, locks: LockWindow, softirq_window: SoftirqWindow
) -> Verdicts:
    """CPUs wait for each other when they add connections to the IPVS table.

    ## What it does
    With `--probe`, the check reports waits for `__ip_vs_conntbl_lock_array` that take 5 % of
    softirq time or more, at 20,000 new connections/s or more. Below that rate it is inconclusive.
    A lookup takes no lock, so many packets of few connections are not reported.

    ## Why it matters
    Only 32 locks protect the whole table when entries are added and removed, and each connection
    takes two of them. `conn_tab_bits` adds buckets, but no locks.

    ## Remediation
    Make fewer entries: have clients keep their connections open, use one-packet scheduling for UDP
    services with single requests and replies (`ipvs/udp-ops`), and synchronise less
    (`lock/ipvs-sync`). Otherwise use a newer kernel, in which each bucket has its own lock, or a
    second active director (ECMP).

    ## Known problems
    On newer kernels, which have `net.ipv4.vs.conn_lfactor`, each bucket has a one-bit lock. Waits
    for such locks cannot be measured, so the check does not apply.

    ## References
    - net/netfilter/ipvs/ip_vs_conn.c, `CT_LOCKARRAY_BITS`
    """
    if snapshot.sysctls and snapshot.sysctls.text(_PER_BUCKET) is not None:
        yield not_applicable(
            "each bucket of this kernel's connection table has a lock of its own, and the kernel "
            "does not report waits for such locks"
        )
        return
    waiting = notable(locks, softirq_window, _LOCKS, percent=_HIGH_PERCENT)
    if isinstance(waiting, Undecided):
        yield waiting
    elif waiting:
        yield _judged(snapshot, waiting)


def _judged(snapshot: Snapshot, waiting: Waiting) -> Finding | Undecided:
    rate = per_second(snapshot, "connections")
    if rate is None:
        return inconclusive(f"{waiting.message}; the rate of new connections is unknown")
    message = f"{waiting.message}, at {rate:,.0f} new connections/s"
    if rate < _MANY_PER_SECOND:
        return inconclusive(
            f"{message}; this check needs {_MANY_PER_SECOND:,} new connections/s or more",
            Cause.IDLE,
        )
    title = "Keep clients' connections open, or spread new connections over two directors"
    return Finding(
        "connection table",
        Severity.HIGH,
        message,
        {"lock": _LOCKS, "connections_per_second": round(rate, 1)} | waiting.evidence,
        (Fix("fewer-connections", title, Risk.SAFE),),
    )
