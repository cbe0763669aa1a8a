from dirtune.checks import Finding, Severity, Verdicts, check, inconclusive, not_applicable
from dirtune.checks.ipvs import ROUTERS, forwarding, running
from dirtune.checks.remedies import sysctl
from dirtune.snapshot import Snapshot

_SETTING = "net/ipv4/vs/schedule_icmp"


@check(
    "ipvs/schedule-icmp",
    severity=Severity.MEDIUM,
    trust="B",
    needs=("services", "sysctls"),
    roles=("director",),
    mends=True,
)
def schedule_icmp(snapshot: Snapshot) -> Verdicts:
    """ICMP errors for virtual addresses do not reach the real servers.

    ## What it does
    Reports `schedule_icmp=0` where a program announces routes (BIRD, FRR's bgpd, GoBGP, ExaBGP,
    PyBal), so that several directors may share an address: `medium`; and where a service uses mh
    without one: `low`. A single director with its table knows whose ICMP it is.

    ## Why it matters
    A "fragmentation needed" message that comes to another director than its connection is lost,
    and large transfers hang.

    ## Remediation
    `net.ipv4.vs.schedule_icmp=1` on all directors.

    ## Known problems
    Several active directors are told by such a program only; a static route to two of them is
    not seen.

    ## References
    - Documentation/networking/ipvs-sysctl.rst
    - net/netfilter/ipvs/ip_vs_core.c, `ip_vs_in_icmp()`
    """
    assert snapshot.sysctls is not None
    setting = snapshot.sysctls.number(_SETTING)
    routers = running(snapshot, ROUTERS)
    stateless = [s.name for s in snapshot.services or () if s.scheduler == "mh"]
    if setting is None:
        yield not_applicable("this kernel has no schedule_icmp, or it could not be read")
    elif setting == 0 and (routers or stateless):
        said = f"{routers[0]} announces routes" if routers else f"{stateless[0]} uses mh"
        yield Finding(
            subject="net.ipv4.vs.schedule_icmp",
            severity=Severity.MEDIUM if routers else Severity.LOW,
            message=f"is 0, and {said}: ICMP errors may come to another director",
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
                    "Schedule ICMP errors too",
                    {_SETTING: 1},
                    what="ipvs",
                ),
            ),
        )
    elif setting == 0 and routers is None:
        yield inconclusive("whether other directors are active is not known: no processes")
