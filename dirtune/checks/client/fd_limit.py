from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, inconclusive
from dirtune.snapshot import Snapshot

_SPARE = 100  # an estimate, not calibrated
_FD_SETSIZE = 1024
_ENOUGH = 1048576
_SELECT = frozenset({"httperf"})
_NAME = "Max open files"


@check(
    "client/fd-limit",
    severity=Severity.HIGH,
    trust="B",
    needs=("limits",),
    roles=("client",),
)
def fd_limit(snapshot: Snapshot) -> Verdicts:
    """A client may not open as many files as it is to hold connections.

    ## What it does
    Reports a soft limit of open files below the planned connections and 100 more, and a running
    httperf with more than 1,024 of them: it uses select(2), whose FD_SETSIZE is compiled in.
    Generators on epoll (h2load, wrk) have the first limit alone.

    ## Why it matters
    The generator stops opening connections, and the director is blamed. A raised limit does not
    help select(2): it corrupts memory or aborts.

    ## Remediation
    `ulimit -n 1048576` where the generator starts, `LimitNOFILE=` for a unit of systemd; for
    httperf several processes, or one built with a larger FD_SETSIZE.

    ## Known problems
    The limit is that of the session the audit runs in; a generator started elsewhere may have
    another.

    ## References
    - select(2)
    """
    planned = snapshot.place.concurrency if snapshot.place else None
    if planned is None:
        yield inconclusive("how many connections are planned is not known")
        return
    if _NAME not in (snapshot.limits or {}):
        yield inconclusive("the limit of open files is not known")
        return
    limit = (snapshot.limits or {})[_NAME]
    if limit is not None and limit < planned + _SPARE:
        yield _finding(
            "open files",
            f"{limit:,} may be open, {planned + _SPARE:,} are needed",
            {"limit": limit, "planned_connections": planned},
            Fix("raise-fd-limit", "Raise the limit", Risk.SAFE, (f"ulimit -n {_ENOUGH}",)),
        )
    names = {process.name for process in snapshot.processes or ()}
    for name in sorted(names & _SELECT) if planned > _FD_SETSIZE else ():
        yield _finding(
            name,
            f"uses select(2), which ends at {_FD_SETSIZE:,}, for {planned:,} connections",
            {"process": name, "planned_connections": planned},
            Fix("split-generator", "Run several processes, or build it anew", Risk.SAFE),
        )


def _finding(subject: str, message: str, evidence: dict[str, object], fix: Fix) -> Finding:
    return Finding(subject, Severity.HIGH, message, evidence, (fix,))
