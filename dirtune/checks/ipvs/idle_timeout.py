from dirtune.checks import Finding, Role, Severity, Verdicts, check
from dirtune.checks.owners import KUBERNETES, Owner, owner
from dirtune.checks.remedies import commands
from dirtune.collect.ip_vs import Service
from dirtune.collect.ipvs_netlink import Ipvs
from dirtune.snapshot import Snapshot

_KEEPALIVE_S = 7_200  # net.ipv4.tcp_keepalive_time by default
_DEFAULT_TCP_S = 900
_LONGER_S = 60  # than the first probe of the peers
_REMEDY = {
    Owner.KUBE_PROXY: "--ipvs-tcp-timeout of kube-proxy",
    Owner.KEEPALIVED: "`lvs_timeouts` of keepalived",
}
_PEERS_ARE_HERE = KUBERNETES | {Owner.SWARM}
"""Owners whose clients and servers are containers."""


@check(
    "ipvs/idle-timeout",
    severity=Severity.LOW,
    trust="A",
    roles=(Role.DIRECTOR,),
    mends=True,
)
def idle_timeout(snapshot: Snapshot, services: tuple[Service, ...], ipvs: Ipvs) -> Verdicts:
    """IPVS forgets idle TCP connections before the peers' keepalive comes.

    ## What it does
    The check compares the timeout of established TCP connections (900 s by default) with the
    7,200 s after which an idle Linux peer sends its first keepalive probe by default. In
    Kubernetes and Docker Swarm the peers are containers, which begin with this default whatever
    `net.ipv4.tcp_keepalive_time` of the host is, and a shorter timeout is `low`. Other directors
    do not know their peers: the check reports only a timeout that somebody lowered below the
    default of 900 s, as `info`.

    ## Why it matters
    After a pause longer than the timeout, IPVS has no entry for the connection. The next packet is
    answered with a reset, or goes to another server, which resets the connection. Connections of
    databases and message queues often pause for that long.

    ## Remediation
    Raise the timeout above the peers' keepalive (`ipvsadm --set 7260 0 0`, `lvs_timeouts` of
    keepalived, `--ipvs-tcp-timeout` of kube-proxy), or lower `tcp_keepalive_time` of the peers.
    Longer timeouts keep more entries. The timeout applies to new entries.

    ## Known problems
    Keepalive only works if the application turns it on. The check does not read the settings of
    containers, which may have been lowered.

    ## References
    - Documentation/networking/ip-sysctl.rst, `tcp_keepalive_time`
    - net/netfilter/ipvs/ip_vs_proto_tcp.c, `tcp_timeouts`
    - https://github.com/kubernetes/kubernetes/issues/80298
    - https://github.com/easzlab/kubeasz/pull/688
    """
    timeout_s = ipvs.timeouts_s.get("tcp")
    mine = owner(snapshot)
    here = mine in _PEERS_ARE_HERE
    most_s = _KEEPALIVE_S if here else _DEFAULT_TCP_S
    tcp = [s for s in services if s.protocol != "UDP" and s.destinations]
    if not timeout_s or timeout_s >= most_s or not tcp:
        return
    row = ("ipvsadm", "--set", str(_KEEPALIVE_S + _LONGER_S), "0", "0")
    setting = _REMEDY.get(mine) if mine else None
    title = "Raise the timeout above the keepalive of the peers" + (
        f", and keep it with {setting}" if setting else ""
    )
    yield Finding(
        subject="tcp timeout",
        severity=Severity.LOW if here else Severity.INFO,
        message=f"IPVS forgets TCP connections that are idle for {timeout_s} s, but peers send "
        f"their first keepalive probe after {_KEEPALIVE_S:,} s by default",
        evidence={"tcp_timeout_s": timeout_s, "tcp_keepalive_time_s": _KEEPALIVE_S},
        fixes=(commands(snapshot, "raise-tcp-timeout", title, (row,), what="ipvs"),),
    )
