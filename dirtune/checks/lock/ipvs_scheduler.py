import re

from dirtune.checks import Finding, Fix, Severity, Undecided, Verdicts, check
from dirtune.checks.ipvs import edited
from dirtune.checks.lock import Waiting, notable
from dirtune.checks.remedies import commands
from dirtune.collect.ip_vs import Service
from dirtune.snapshot import Snapshot

_LOCK = "svc->sched_lock"
# Editing a service takes the lock, too: only what schedules packets is of interest.
_CALLER = re.compile(r"ip_vs_(?P<scheduler>rr|wrr|lblcr?)_schedule")


@check(
    "lock/ipvs-scheduler",
    severity=Severity.MEDIUM,
    trust="A",
    needs=("locks", "softirq_window", "services"),
    roles=("director",),
)
def ipvs_scheduler(snapshot: Snapshot) -> Verdicts:
    """CPUs wait for each other to choose a real server of one service.

    ## What it does
    With `--probe`, reports waits for a service's `sched_lock` in `ip_vs_rr_schedule`,
    `ip_vs_wrr_schedule`, `ip_vs_lblc_schedule` or `ip_vs_lblcr_schedule` that take 2 % of softirq
    time or more. wlc, lc, sed, nq, sh, mh and dh choose without a lock and never show up here.

    ## Why it matters
    rr and wrr take one lock of the service for every new connection: all CPUs stand in line for
    the next turn.

    ## Remediation
    Another scheduler: `ipvsadm -E -t VIP:PORT -s mh` (or sh, by a hash of the client), or wlc
    where a service has few servers; in keepalived `lb_algo`. Or several services in place of one:
    split the port, or mark packets and balance by mark. New connections are then spread
    otherwise; those that are there stay where they are.

    ## Known problems
    The lock does not say whose it is: where several services have the scheduler, all are named.

    ## References
    - net/netfilter/ipvs/ip_vs_rr.c, ip_vs_wrr.c, ip_vs_lblc.c, ip_vs_lblcr.c
    """
    assert snapshot.locks is not None
    callers = {each.caller for each in snapshot.locks.locks if each.lock == _LOCK}
    for scheduler in filter(None, map(_CALLER.fullmatch, sorted(callers))):
        found = notable(snapshot, _LOCK, caller=scheduler[0])
        if isinstance(found, Undecided):
            yield found
        elif found:
            yield _finding(snapshot, scheduler["scheduler"], found)


def _finding(snapshot: Snapshot, scheduler: str, found: Waiting) -> Finding:
    services = [each for each in snapshot.services or () if each.scheduler == scheduler]
    names = [each.name for each in services]
    of = f" of one of {len(names)} services" if len(names) > 1 else ""
    return Finding(
        names[0] if len(names) == 1 else f"scheduler {scheduler}",
        Severity.MEDIUM,
        f"{found.message}, for the lock{of}",
        {"lock": _LOCK, "scheduler": scheduler, "services": names} | found.evidence,
        tuple(_fix(snapshot, each) for each in services),
    )


def _fix(snapshot: Snapshot, service: Service) -> Fix:
    return commands(
        snapshot,
        "schedule-mh",
        f"Schedule {service.name} by a hash of the client, with mh; in keepalived `lb_algo mh`",
        edited(snapshot, service, "-s mh"),
        what="ipvs",
    )
