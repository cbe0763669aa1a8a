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
    """CPUs wait for each other to send connections to the backup director.

    ## What it does
    With `--probe`, the check reports waits for `sync_buff_lock` and `sync_lock`, in
    `ip_vs_sync_conn` and `sb_queue_tail`, that take 2 % of softirq time or more on a director that
    runs a master sync daemon. The finding is `high` from 100,000 packets/s of IPVS on, else
    `medium`.

    ## Why it matters
    Each packet that is to be synchronised takes one lock of the network namespace. `sync_ports`
    adds threads that send, not locks. Messages that exceed `sync_qlen_max` are dropped without
    being counted.

    ## Remediation
    Synchronise less: `sync_threshold="3 0"` with `sync_refresh_period=10` sends a connection once
    and again every ten seconds, and `sync_persist_mode=1` leaves out the connections of persistent
    services, whose templates are sent. The backup then misses some changes of the last seconds. Do
    not synchronise short connections if a client can simply connect again.

    ## Known problems
    The packets that are synchronised are not counted, only all packets of IPVS.

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
    """Whether this director synchronises a backup; None without netlink and processes."""
    if snapshot.ipvs is not None:
        return any(daemon.state == "master" for daemon in snapshot.ipvs.daemons)
    if snapshot.processes is not None:
        return bool(thread_percents(snapshot, (_SENDER,)))
    return None
