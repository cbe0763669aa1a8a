from dirtune.checks import (
    Finding,
    Fix,
    Risk,
    Severity,
    Undecided,
    Verdicts,
    check,
    inconclusive,
)
from dirtune.checks.ipvs import per_second
from dirtune.checks.lock import Waiting, notable
from dirtune.snapshot import Snapshot

_LOCKS = "__ip_vs_conntbl_lock_array"
_HIGH_PERCENT = 5.0  # of softirq time; an estimate, not calibrated
_MANY_PER_SECOND = 20_000  # new connections; an estimate, not calibrated


@check(
    "lock/ipvs-conn-table",
    severity=Severity.HIGH,
    trust="A",
    needs=("locks", "softirq_window"),
    roles=("director",),
)
def ipvs_conn_table(snapshot: Snapshot) -> Verdicts:
    """CPUs wait for each other to enter connections into IPVS's table.

    ## What it does
    With `--probe`, reports waits for `__ip_vs_conntbl_lock_array` that take 5 % of softirq time or
    more, at 20,000 new connections/s or more. Below that rate it is left open. Looking a
    connection up takes no lock: many packets of few connections are left alone.

    ## Why it matters
    32 locks guard entering and removing for the whole table, and each connection takes two of
    them. `conn_tab_bits` adds buckets, not locks.

    ## Remediation
    Fewer entries: clients that keep their connections open, one-packet scheduling for UDP of
    questions and answers (`ipvs/udp-ops`), less synchronisation (`lock/ipvs-sync`). Else a newer
    kernel, whose buckets have locks of their own, or a second director beside this one (ECMP).

    ## Known problems
    Locks of one bit, as newer kernels have in each bucket, tell nobody that they are waited for.

    ## References
    - net/netfilter/ipvs/ip_vs_conn.c, `CT_LOCKARRAY_BITS`
    """
    found = notable(snapshot, _LOCKS, percent=_HIGH_PERCENT)
    if isinstance(found, Undecided):
        yield found
    elif found:
        yield _judged(snapshot, found)


def _judged(snapshot: Snapshot, found: Waiting) -> Finding | Undecided:
    rate = per_second(snapshot, "connections")
    if rate is None:
        return inconclusive(f"{found.message}; the rate of new connections is not known")
    at = f"{found.message}, at {rate:,.0f} new connections/s"
    if rate < _MANY_PER_SECOND:
        return inconclusive(f"{at}; judged from {_MANY_PER_SECOND:,} on")
    title = "Keep clients' connections open, or spread new ones over two directors"
    return Finding(
        "connection table",
        Severity.HIGH,
        at,
        {"lock": _LOCKS, "connections_per_second": round(rate, 1)} | found.evidence,
        (Fix("fewer-connections", title, Risk.SAFE),),
    )
