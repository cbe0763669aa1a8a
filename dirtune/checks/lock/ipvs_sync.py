from dirtune.checks import Finding, Severity, Undecided, Verdicts, check, not_applicable
from dirtune.checks.ipvs import per_second, thread_percents
from dirtune.checks.lock import Waiting, notable
from dirtune.checks.remedies import sysctl
from dirtune.snapshot import Snapshot

_LOCKS = ("ipvs->sync_buff_lock", "ipvs->sync_lock")
_MANY_PPS = 100_000  # of IPVS; an estimate, not calibrated
_SENDER = "ipvs-m"
_LESS = {"net/ipv4/vs/sync_threshold": "3 0", "net/ipv4/vs/sync_refresh_period": 10}
_PERSIST = {"net/ipv4/vs/sync_persist_mode": 1}


@check(
    "lock/ipvs-sync",
    severity=Severity.HIGH,
    trust="A",
    needs=("locks", "softirq_window"),
    roles=("director",),
)
def ipvs_sync(snapshot: Snapshot) -> Verdicts:
    """CPUs wait for each other to tell the backup director of connections.

    ## What it does
    With `--probe`, reports waits for `sync_buff_lock` and `sync_lock`, in `ip_vs_sync_conn` and
    `sb_queue_tail`, that take 2 % of softirq time or more on a director that runs a master sync
    daemon. It is `high` from 100,000 packets/s of IPVS on, else `medium`.

    ## Why it matters
    One lock of the network namespace is taken for each packet that is to be synchronised.
    `sync_ports` adds threads that send, not locks. What exceeds `sync_qlen_max` is thrown away
    without a count.

    ## Remediation
    Synchronise less: `sync_threshold="3 0"` with `sync_refresh_period=10` tells of a connection
    once and again every ten seconds, and `sync_persist_mode=1` leaves out the connections of
    persistent services, whose templates are told. The backup then knows a little less of the last
    seconds. Leave short connections out where a client may connect anew.

    ## Known problems
    How many of the packets are synchronised is not counted; all packets of IPVS are.

    ## References
    - net/netfilter/ipvs/ip_vs_sync.c
    - Documentation/networking/ipvs-sysctl.rst, `sync_threshold`, `sync_persist_mode`
    """
    if _sends(snapshot) is False:
        yield not_applicable("no master sync daemon")
        return
    found = notable(snapshot, *_LOCKS)
    if isinstance(found, Undecided):
        yield found
    elif found:
        yield _finding(snapshot, found)


def _finding(snapshot: Snapshot, found: Waiting) -> Finding:
    pps = per_second(snapshot, "packets_in")
    persistent = any(s.persistent_jiffies is not None for s in snapshot.services or ())
    title = "Tell the backup of a connection once and every ten seconds"
    values = _LESS | (_PERSIST if persistent else {})
    return Finding(
        "sync daemon (master)",
        Severity.HIGH if pps is not None and pps >= _MANY_PPS else Severity.MEDIUM,
        found.message,
        {"packets_per_second": None if pps is None else round(pps, 1)} | found.evidence,
        (sysctl(snapshot, "synchronise-less", title, values, what="ipvs"),),
    )


def _sends(snapshot: Snapshot) -> bool | None:
    """Whether this director tells a backup; None if neither netlink nor processes are known."""
    if snapshot.ipvs is not None:
        return any(daemon.state == "master" for daemon in snapshot.ipvs.daemons)
    if snapshot.processes is not None:
        return bool(thread_percents(snapshot, (_SENDER,)))
    return None
