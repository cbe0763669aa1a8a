import re

from dirtune.analyse.probed import LockWindow, SoftirqWindow
from dirtune.checks import Finding, Fix, Role, Severity, Undecided, Verdicts, check
from dirtune.checks.ipvs import edited
from dirtune.checks.lock import Waiting, notable
from dirtune.checks.table_fixes import Part, in_table
from dirtune.collect.ip_vs import Service
from dirtune.snapshot import Snapshot

_LOCK = "svc->sched_lock"
# Editing a service takes the lock too; only callers that schedule packets count.
_CALLER = re.compile(r"ip_vs_(?P<scheduler>rr|wrr|lblcr?)_schedule")


@check(
    "lock/ipvs-scheduler",
    severity=Severity.MEDIUM,
    trust="A",
    needs=("services",),
    roles=(Role.DIRECTOR,),
)
def ipvs_scheduler(
    snapshot: Snapshot, locks: LockWindow, softirq_window: SoftirqWindow
) -> Verdicts:
    """CPUs wait for each other when they choose a real server for a service.

    ## What it does
    With `--probe`, the check reports waits for a service's `sched_lock` in `ip_vs_rr_schedule`,
    `ip_vs_wrr_schedule`, `ip_vs_lblc_schedule` or `ip_vs_lblcr_schedule` that take 2 % of softirq
    time or more. The other schedulers (wlc, lc, sed, nq, sh, mh, dh) take no lock and are never
    reported.

    ## Why it matters
    rr and wrr take the service's lock for every new connection, so all CPUs wait for this one
    lock.

    ## Remediation
    Use another scheduler: mh or sh, which hash the client's address (`ipvsadm -E -t VIP:PORT -s
    mh`), or wlc if the service has few servers. In keepalived, set `lb_algo`. Or split the service
    into several services, on more ports or by firewall mark. Existing connections stay on their
    servers.

    ## Known problems
    The probe does not show which service a lock belongs to: the finding names all services with
    the scheduler.

    ## References
    - net/netfilter/ipvs/ip_vs_rr.c, ip_vs_wrr.c, ip_vs_lblc.c, ip_vs_lblcr.c
    """
    callers = {wait.caller for wait in locks.locks if wait.lock == _LOCK}
    for scheduler in filter(None, map(_CALLER.fullmatch, sorted(callers))):
        waiting = notable(locks, softirq_window, _LOCK, caller=scheduler[0])
        if isinstance(waiting, Undecided):
            yield waiting
        elif waiting:
            yield _finding(snapshot, scheduler["scheduler"], waiting)


def _finding(snapshot: Snapshot, scheduler: str, waiting: Waiting) -> Finding:
    services = [s for s in snapshot.services or () if s.scheduler == scheduler]
    names = [service.name for service in services]
    which = names[0] if len(names) == 1 else f"one of the services with {scheduler}"
    return Finding(
        names[0] if len(names) == 1 else f"scheduler {scheduler}",
        Severity.MEDIUM,
        f"{waiting.message}, to choose a real server for {which}",
        {"lock": _LOCK, "scheduler": scheduler, "services": names} | waiting.evidence,
        tuple(_fix(snapshot, service) for service in services),
    )


def _fix(snapshot: Snapshot, service: Service) -> Fix:
    return in_table(
        snapshot,
        "schedule-mh",
        f"Schedule {service.name} by a hash of the client with mh",
        Part.SCHEDULER,
        edited(snapshot, service, "-s mh"),
    )
