from dirtune.checks import Finding, Role, Severity, Verdicts, check, inconclusive, not_applicable
from dirtune.checks.conntrack import VS_CONNTRACK
from dirtune.checks.ipvs import forwarding
from dirtune.checks.remedies import sysctl
from dirtune.collect.ipvs_netlink import Ipvs
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Snapshot

_TIMEOUT = "net/netfilter/nf_conntrack_tcp_timeout_{}"
_RATIO = 10
# The states that IPVS and connection tracking both keep an entry in, by IPVS's name for them.
_STATES = {"tcp": "established", "tcp_fin": "fin_wait"}


@check(
    "conntrack/timeouts-nat",
    severity=Severity.MEDIUM,
    trust="B",
    roles=(Role.DIRECTOR,),
    mends=True,
)
def timeouts_nat(snapshot: Snapshot, sysctls: Sysctls, ipvs: Ipvs) -> Verdicts:
    """Connection tracking forgets a connection long after IPVS does, or long before.

    ## What it does
    With `net.ipv4.vs.conntrack=1`, the check reports a timeout of connection tracking
    (established, FIN wait) that is ten times the IPVS timeout for the same state, or a tenth of
    it. Where IPVS connections are not tracked, there is nothing to compare.

    ## Why it matters
    Entries of one table outlive those of the other: established connections that IPVS forgot after
    15 minutes fill the tracking table for five days, or a NAT reply finds no state.

    ## Remediation
    Set the timeouts of connection tracking to those that `ipvsadm -l --timeout` shows.

    ## Known problems
    Timeouts that a rule or a program sets for single flows are not seen.

    ## References
    - Documentation/networking/nf_conntrack-sysctl.rst
    """
    tracked = sysctls.number(VS_CONNTRACK)
    if not tracked:
        untracked = "net.ipv4.vs.conntrack is 0, so IPVS connections are not tracked"
        unsupported = "IPVS in this kernel does not support connection tracking"
        yield not_applicable(untracked if tracked == 0 else unsupported)
        return
    for state, name in _STATES.items():
        ours = ipvs.timeouts_s.get(state)
        theirs = sysctls.number(_TIMEOUT.format(name))
        if not ours or not theirs:
            yield inconclusive(
                f"the timeout of {name} connections is unknown for connection tracking or for IPVS"
            )
        elif max(ours, theirs) >= _RATIO * min(ours, theirs):
            yield _finding(snapshot, name, ours, theirs)


def _finding(snapshot: Snapshot, name: str, ours: int, theirs: int) -> Finding:
    effect = "outlives its IPVS entry" if theirs > ours else "expires before its IPVS entry"
    return Finding(
        f"nf_conntrack_tcp_timeout_{name}",
        Severity.MEDIUM,
        f"nf_conntrack_tcp_timeout_{name} is {theirs:,} s and the IPVS timeout is {ours:,} s, so "
        f"the tracking entry of a connection {effect}",
        {
            "state": name,
            "conntrack_s": theirs,
            "ipvs_s": ours,
            "forwarding": sorted(forwarding(snapshot)),
        },
        (
            sysctl(
                snapshot,
                "align-conntrack-timeouts",
                "Set the same timeout for connection tracking and for IPVS",
                {_TIMEOUT.format(name): ours},
            ),
        ),
    )
