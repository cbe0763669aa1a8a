from dirtune.checks import Finding, Role, Severity, Verdicts, check, inconclusive, not_applicable
from dirtune.checks.conntrack import VS_CONNTRACK
from dirtune.checks.ipvs import forwarding
from dirtune.checks.remedies import sysctl
from dirtune.collect.ipvs_netlink import Ipvs
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Snapshot

_TIMEOUT = "net/netfilter/nf_conntrack_tcp_timeout_{}"
_RATIO = 10
# States in which both IPVS and connection tracking have an entry, by IPVS's names.
_STATES = {"tcp": "established", "tcp_fin": "fin_wait"}


@check(
    "conntrack/timeouts-nat",
    severity=Severity.MEDIUM,
    trust="B",
    roles=(Role.DIRECTOR,),
    mends=True,
)
def timeouts_nat(snapshot: Snapshot, sysctls: Sysctls, ipvs: Ipvs) -> Verdicts:
    """The timeouts of connection tracking and IPVS differ too much.

    ## What it does
    If `net.ipv4.vs.conntrack` is 1, the check compares the timeouts of connection tracking and of
    IPVS for the same state (established, FIN wait). It reports a timeout that is at least ten
    times as long as the other one.

    ## Why it matters
    If tracking entries live longer, they fill the table: by default, IPVS forgets an idle
    established connection after 15 minutes, and connection tracking after five days. If they
    expire earlier, NAT replies find no entry.

    ## Remediation
    Set the timeouts of connection tracking to those that `ipvsadm -l --timeout` shows.

    ## Known problems
    The check does not see timeouts that a rule or a program sets for single flows.

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
