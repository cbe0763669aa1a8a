from collections.abc import Mapping

from dirtune.checks import Finding, Fix, Risk, Role, Severity, Verdicts, check, inconclusive
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
    roles=(Role.CLIENT,),
)
def fd_limit(snapshot: Snapshot, limits: Mapping[str, int | None]) -> Verdicts:
    """A client may open fewer files than it needs for its connections.

    ## What it does
    The check reports a soft limit of open files that is below the planned connections plus 100. It
    also reports a running httperf with more than 1,024 planned connections: httperf uses
    select(2), which cannot use more files than FD_SETSIZE, a constant of the build. Generators
    that use epoll (h2load, wrk) have only the soft limit.

    ## Why it matters
    At the limit, the generator opens no more connections, which looks like a limit of the
    director. A higher soft limit does not help a program that uses select(2): it then corrupts
    memory or aborts.

    ## Remediation
    Run `ulimit -n 1048576` in the shell that starts the generator, or set `LimitNOFILE=` in its
    systemd unit. Run several processes of httperf, or build httperf with a larger FD_SETSIZE.

    ## Known problems
    The check reads the limit of the session in which the audit runs. A generator that was started
    in another session may have another limit.

    ## References
    - select(2)
    """
    planned = snapshot.place.concurrency if snapshot.place else None
    if planned is None:
        yield inconclusive("the number of planned connections is unknown")
        return
    if _NAME not in limits:
        yield inconclusive("the limit on open files is unknown")
        return
    limit = limits[_NAME]
    if limit is not None and limit < planned + _SPARE:
        yield _finding(
            "open files",
            f"This client may open {limit:,} files, but it needs {planned + _SPARE:,} for "
            f"{planned:,} planned connections",
            {"limit": limit, "planned_connections": planned},
            Fix(
                "raise-fd-limit",
                "Raise the limit on open files",
                Risk.SAFE,
                (f"ulimit -n {_ENOUGH}",),
            ),
        )
    names = {process.name for process in snapshot.processes or ()}
    for name in sorted(names & _SELECT) if planned > _FD_SETSIZE else ():
        yield _finding(
            name,
            f"{name} uses select(2), which is limited to {_FD_SETSIZE:,} files, but {planned:,} "
            "connections are planned",
            {"process": name, "planned_connections": planned},
            Fix(
                "split-generator",
                f"Run several processes of {name}, or build it with a larger FD_SETSIZE",
                Risk.SAFE,
            ),
        )


def _finding(subject: str, message: str, evidence: dict[str, object], fix: Fix) -> Finding:
    return Finding(subject, Severity.HIGH, message, evidence, (fix,))
