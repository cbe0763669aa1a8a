from dirtune.analyse.probed import LockWindow, SoftirqWindow
from dirtune.checks import Finding, Role, Severity, Undecided, Verdicts, check, not_applicable
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
    roles=(Role.DIRECTOR,),
)
def ipvs_sync(snapshot: Snapshot, locks: LockWindow, softirq_window: SoftirqWindow) -> Verdicts:
    """CPUs wait for each other when they queue connections for the backup director.

    ## What it does
    With `--probe`, the check examines directors with a master sync daemon. It reports waits for
    `sync_buff_lock` and `sync_lock` in `ip_vs_sync_conn` and `sb_queue_tail` that take 2 % of
    softirq time or more. The finding is `high` if IPVS handles 100,000 packets/s or more, else
    `medium`.

    ## Why it matters
    Each packet that causes a sync message takes the same lock, of which a network namespace has
    only one. `sync_ports` adds sending threads, but no locks. If the queue exceeds
    `sync_qlen_max`, the kernel drops messages and does not count them.

    ## Remediation
    Synchronise less. With `sync_threshold="3 0"` and `sync_refresh_period=10`, a connection is
    sent once, and then every ten seconds. With `sync_persist_mode=1`, persistent services send
    only their templates, not their connections. The backup then lacks some changes of the last
    seconds. Do not synchronise short connections if clients can simply connect again.

    ## Known problems
    The kernel counts all packets of IPVS, but not the packets that cause sync messages.

    ## References
    - net/netfilter/ipvs/ip_vs_sync.c
    - Documentation/networking/ipvs-sysctl.rst, `sync_threshold`, `sync_persist_mode`
    """
    if _sends(snapshot) is False:
        yield not_applicable("no master sync daemon runs on this host")
        return
    waiting = notable(locks, softirq_window, *_LOCKS)
    if isinstance(waiting, Undecided):
        yield waiting
    elif waiting:
        yield _finding(snapshot, waiting)


def _finding(snapshot: Snapshot, waiting: Waiting) -> Finding:
    pps = per_second(snapshot, "packets_in")
    persistent = any(s.persistent_jiffies is not None for s in snapshot.services or ())
    title = "Send each connection to the backup once, then again every ten seconds"
    values = _LESS | (_PERSIST if persistent else {})
    return Finding(
        "sync daemon (master)",
        Severity.HIGH if pps is not None and pps >= _MANY_PPS else Severity.MEDIUM,
        f"{waiting.message}, to synchronise connections",
        {"packets_per_second": None if pps is None else round(pps, 1)} | waiting.evidence,
        (sysctl(snapshot, "synchronise-less", title, values, what="ipvs"),),
    )


def _sends(snapshot: Snapshot) -> bool | None:
    """Whether this director sends connections to a backup; None if unknown."""
    if snapshot.ipvs is not None:
        return any(daemon.state == "master" for daemon in snapshot.ipvs.daemons)
    if snapshot.processes is not None:
        return bool(thread_percents(snapshot, (_SENDER,)))
    return None
