from dirtune.checks import Finding, Role, Severity, Verdicts, check, inconclusive, not_applicable
from dirtune.checks.ipvs import ROUTERS, forwarding, running
from dirtune.checks.remedies import sysctl
from dirtune.collect.ip_vs import Service
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Snapshot

_SETTING = "net/ipv4/vs/schedule_icmp"


@check(
    "ipvs/schedule-icmp",
    severity=Severity.MEDIUM,
    trust="B",
    roles=(Role.DIRECTOR,),
    mends=True,
)
def schedule_icmp(snapshot: Snapshot, services: tuple[Service, ...], sysctls: Sysctls) -> Verdicts:
    """ICMP errors for virtual addresses do not reach the real servers.

    ## What it does
    The check reports `net.ipv4.vs.schedule_icmp=0` if several directors may share an address. The
    finding is `medium` if a program announces routes (BIRD, FRR's bgpd, GoBGP, ExaBGP, PyBal), and
    `low` if no such program runs but a service uses mh. A single director needs no setting,
    because its table has the connection of every ICMP error.

    ## Why it matters
    If the ICMP error "fragmentation needed" reaches a director that does not have the connection,
    the error is lost, and large transfers hang.

    ## Remediation
    Set `net.ipv4.vs.schedule_icmp=1` on all directors.

    ## Known problems
    The check recognises several active directors only by a routing program, not by static routes
    to two directors.

    ## References
    - Documentation/networking/ipvs-sysctl.rst
    - net/netfilter/ipvs/ip_vs_core.c, `ip_vs_in_icmp()`
    """
    setting = sysctls.number(_SETTING)
    routers = running(snapshot, ROUTERS)
    stateless = [s.name for s in services if s.scheduler == "mh"]
    if setting is None:
        yield not_applicable(
            "net.ipv4.vs.schedule_icmp is missing from this kernel, or could not be read"
        )
    elif setting == 0 and (routers or stateless):
        why = f"{routers[0]} announces routes" if routers else f"{stateless[0]} uses mh"
        yield Finding(
            subject="net.ipv4.vs.schedule_icmp",
            severity=Severity.MEDIUM if routers else Severity.LOW,
            message="net.ipv4.vs.schedule_icmp is 0, so an ICMP error is lost if it reaches a "
            f"director that does not hold the connection; {why}, so several directors may "
            "be active",
            evidence={
                "schedule_icmp": 0,
                "routers": list(routers or ()),
                "mh_services": stateless,
                "forwarding": sorted(forwarding(snapshot)),
            },
            fixes=(
                sysctl(
                    snapshot,
                    "schedule-icmp",
                    "Schedule ICMP errors to the real servers",
                    {_SETTING: 1},
                    what="ipvs",
                ),
            ),
        )
    elif setting == 0 and routers is None:
        yield inconclusive("the running processes are unknown, so other directors may be active")
