from dirtune.checks import Finding, Role, Severity, Verdicts, check, inconclusive
from dirtune.checks.ipvs import ROUTERS, running
from dirtune.checks.remedies import sysctl
from dirtune.collect.ip_vs import Service
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Snapshot

_VS = "net/ipv4/vs/"


@check(
    "ipvs/sloppy-missing",
    severity=Severity.MEDIUM,
    trust="B",
    roles=(Role.DIRECTOR,),
    mends=True,
)
def sloppy_missing(
    snapshot: Snapshot, services: tuple[Service, ...], sysctls: Sysctls
) -> Verdicts:
    """A director refuses connections that began on another director.

    ## What it does
    The check reports `sloppy_tcp=0`, and `sloppy_sctp=0` for SCTP services, in two cases:
    `sync_persist_mode` is 1, so only persistence templates are synchronised; or a service uses mh
    while a program announces routes, so several directors may be active.

    ## Why it matters
    Without the setting, IPVS schedules only packets that begin a connection. After a failover or a
    change of routes, the new director refuses the packets of existing connections.

    ## Remediation
    Set `net.ipv4.vs.sloppy_tcp=1` on all directors. A flood of ACKs can then fill the table.

    ## Known problems
    The check treats services with a firewall mark as TCP.

    ## References
    - Documentation/networking/ipvs-sysctl.rst, sync_persist_mode, sloppy_tcp
    """
    routers = running(snapshot, ROUTERS)
    spread = any(s.scheduler == "mh" for s in services)
    templates_only = sysctls.number(f"{_VS}sync_persist_mode") == 1
    if not (templates_only or (spread and routers)):
        if spread and routers is None:
            yield inconclusive(
                "the running processes are unknown, so other directors may be active"
            )
        return
    why = (
        "only persistence templates are synchronised"
        if templates_only
        else "mh services are spread over several directors"
    )
    protocols = {s.protocol for s in services}
    for name, meant in (("tcp", {"TCP", "FWM"}), ("sctp", {"SCTP"})):
        value = sysctls.number(f"{_VS}sloppy_{name}")
        if protocols & meant and value is None:
            yield inconclusive(f"net.ipv4.vs.sloppy_{name} could not be read")
        elif protocols & meant and value == 0:
            yield _finding(snapshot, f"sloppy_{name}", why)


def _finding(snapshot: Snapshot, name: str, why: str) -> Finding:
    fix = sysctl(
        snapshot,
        name.replace("_", "-"),
        "Let all directors take over connections that began on another director",
        {f"{_VS}{name}": 1},
        what="ipvs",
    )
    return Finding(
        subject=f"net.ipv4.vs.{name}",
        severity=Severity.MEDIUM,
        message=f"net.ipv4.vs.{name} is 0 although {why}, so this director refuses connections "
        "that began on another director",
        evidence={name: 0, "reason": why},
        fixes=(fix,),
    )
